"""Whom does the server ask before it writes? Admission webhooks, over real HTTPS.

    verb ─► Review? ─ no answer yet ─► NeedsReviewError ─► HTTPS calls ─► answer noted ─► verb again
                    └ answered ─► goes on, to the write, in the same breath

Verbs stay synchronous and so atomic: a verb that needs an answer gives up, having written nothing,
and is tried again from its beginning with what it was told. If meanwhile the cluster has changed,
the question is another one, and is asked. So nothing is written that was not reviewed as it is.
"""
