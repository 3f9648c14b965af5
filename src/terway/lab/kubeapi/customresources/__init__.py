"""Kinds that come at run time: what a CustomResourceDefinition makes of the server.

CRD ─► definitions (is it one?) ─► registry ─► rows of the ResourceTable, a version each
                                                 └─ CustomKind: schema, columns, scale
"""
