"""The vocabulary of the project: ids, addresses, ENIs, vSwitches, attachments, errors.

Everything here is a frozen value or an exception, needs only the standard library, and is
imported by every other room. Nothing here waits, decides or touches the outside.
"""
