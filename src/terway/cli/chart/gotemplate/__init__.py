"""Go's text/template, as far as charts use it: so that ours is rendered without Helm, and tested.

    text ──tokens──► actions ──tree──► nodes ──evaluate──► text
                                         functions: Go's own, and those of Helm that are used here

What is not known is refused by name and line. Source: pkg.go.dev/text/template, Helm's chart
template guide.
"""
