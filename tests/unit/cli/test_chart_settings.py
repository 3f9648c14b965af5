"""--set is written as for Helm, and says what to write where it is not."""

from __future__ import annotations

import pytest

from terway.cli.chart.render import check_values, find_chart, read_values
from terway.cli.chart.settings import with_settings
from terway.config.findings import Report
from terway.model.errors import UsageError

VALUES = {
    "groups": ["sg-1", "sg-2"],
    "zones": {"h": ["vsw-1"], "i": ["vsw-2"]},
    "agent": {"nodeSelector": {"os": "linux"}, "tolerations": [{"key": "a", "value": "b"}]},
    "mtu": 1500,
}


@pytest.mark.parametrize(
    ("settings", "changed"),
    [
        (["mtu=9000"], {"mtu": 9000}),
        (["mtu='1,a=2'"], {"mtu": "1,a=2"}),
        (["groups[0]=sg-3"], {"groups": ["sg-3", "sg-2"]}),
        (["groups[2]=sg-3", "groups[3]=sg-4"], {"groups": ["sg-1", "sg-2", "sg-3", "sg-4"]}),
        (["more[0]=a"], {"more": ["a"]}),
        (["more[0][0]=a"], {"more": [["a"]]}),
        (["groups={sg-3,sg-4}"], {"groups": ["sg-3", "sg-4"]}),
        (["groups={sg-3}"], {"groups": ["sg-3"]}),
        (["groups=[sg-3]"], {"groups": ["sg-3"]}),
        (["groups={fd00::1,a:b}"], {"groups": ["fd00::1", "a:b"]}),
        (["zones.h[0]=vsw-3"], {"zones": {"h": ["vsw-3"], "i": ["vsw-2"]}}),
        (["zones={h: [vsw-3]}"], {"zones": {"h": ["vsw-3"], "i": ["vsw-2"]}}),
        (['zones={"h":["vsw-3"]}'], {"zones": {"h": ["vsw-3"], "i": ["vsw-2"]}}),
        (["zones.h=null"], {"zones": {"i": ["vsw-2"]}}),
        (
            ["agent.tolerations[0].value=c", r"agent.nodeSelector.example\.com/a=yes,no"],
            {
                "agent": {
                    "nodeSelector": {"os": "linux", "example.com/a": "yes,no"},
                    "tolerations": [{"key": "a", "value": "c"}],
                }
            },
        ),
    ],
)
def test_a_setting_is_laid_over_the_values_as_helm_does(settings, changed):
    assert with_settings(VALUES, settings) == {**VALUES, **changed}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("mtu", "write NAME=VALUE, as pool.maxSize=10"),
        ("=1", "write NAME=VALUE, as pool.maxSize=10"),
        ("groups[3]=sg-3", "the list has 2 so far: the next is [2]"),
        ("groups[x]=sg-3", "a place of a list as a[0]"),
        ("groups[0=sg-3", "a place of a list as a[0]"),
        ("a..b=1", "write names as a.b"),
        ("mtu=1,pool.size=2", "write --set for each of them"),
        ("mtu=[1", "[1 is not YAML"),
    ],
)
def test_what_is_no_setting_is_refused_with_what_to_write(text, why):
    with pytest.raises(UsageError) as refused:
        with_settings(VALUES, [text])

    assert str(refused.value).startswith(f"--set {text}: ")
    assert why in str(refused.value)


def test_lists_of_the_chart_are_set_by_place(tmp_path):
    path = tmp_path / "values.yaml"
    path.write_text("securityGroupIDs: [sg-1]\n")
    settings = ["securityGroupIDs[1]=sg-2", "vSwitches.cn-hangzhou-i={vsw-1,vsw-2}"]

    values = read_values([path], settings, chart=find_chart())

    report = Report()
    check_values(values, report)
    assert report.refusals == []
    assert values["securityGroupIDs"] == ["sg-1", "sg-2"]
    assert values["vSwitches"] == {"cn-hangzhou-i": ["vsw-1", "vsw-2"]}
