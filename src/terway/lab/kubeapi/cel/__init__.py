"""What does an expression of the Common Expression Language say of an object?

text ─► tokens ─► parsing: a tree ─► checking: only names and functions that exist ─► evaluating

The part of the language that expressions of Kubernetes' users need, in the words of cel-go where
something is refused. Types are checked when a value is there, not before, as if all were dyn.
Source: github.com/google/cel-spec doc/langdef.md; Kubernetes docs "Common Expression Language".
"""
