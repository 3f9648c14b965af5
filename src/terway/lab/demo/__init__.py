"""The first impression: a lab, an application on it, its traffic measured, and nothing left.

`run` is the course of it, `measure` the traffic, `summary` what is told, `screen` how.
"""
