"""Do templates mean here what they mean to Helm?"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from terway.cli.chart.gotemplate.evaluate import Templates
from terway.cli.chart.gotemplate.functions import FUNCTIONS
from terway.cli.chart.gotemplate.tokens import TemplateError
from terway.cli.chart.render import find_chart

FEATURES = Path(__file__).parents[2] / "data" / "helm"


def test_it_writes_what_helm_wrote():
    texts = {path.name: path.read_text() for path in (FEATURES / "templates").iterdir()}
    context = {
        "Values": yaml.safe_load((FEATURES / "values.yaml").read_text()),
        "Chart": {"AppVersion": "1.2.3"},
        "Release": {"Name": "terway", "Namespace": "kube-system", "Service": "Helm"},
    }

    written = Templates(texts).render("features.yaml", context)

    assert written.splitlines() == (FEATURES / "expected.txt").read_text().splitlines()


def test_no_function_is_there_that_neither_the_chart_nor_that_comparison_needs():
    folders = (FEATURES / "templates", find_chart() / "templates")
    words = " ".join(path.read_text() for one in folders for path in one.iterdir())

    assert not [
        name for name in FUNCTIONS if name not in words.split() and f"({name} " not in words
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\n{{ unknown 1 }}", "t: line 2: function 'unknown' is not known here"),
        ("{{ $x }}", r"\$x is not declared"),
        ("{{ if .a }}", "a block has no end"),
        ("{{ end }}", "end without a beginning"),
        ("{{ (eq 1 2 }}", "a parenthesis is not closed"),
        ('{{ fail "no" }}', "no"),
        ("{{ .a.b }}", r"nil has no field"),
    ],
)
def test_what_cannot_be_written_is_said_with_its_place(text, said):
    with pytest.raises(TemplateError, match=said):
        Templates({"t": text}).render("t", {})
