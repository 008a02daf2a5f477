"""The list of all findings is read from the judges' source: that it is read rightly, and whole."""

import pytest
from contract.check_names import VARIABLE, names_by_module, names_in, pattern_of, unproven
from contract.layout import modules


@pytest.mark.parametrize(
    ("source", "names"),
    [
        pytest.param("yield Check(name='sealed')", {"sealed"}, id="spelled out"),
        pytest.param("yield Check(name=f'kv.{mount.strip()}')", {"kv.<...>"}, id="from the inventory"),
        pytest.param("for n in ('a', 'b'): yield Check(name=n)", {"a", "b"}, id="a loop"),
        pytest.param(
            "for n, _ in (('a', 1), ('b', 2)): yield Check(name=f'x.{n}')", {"x.a", "x.b"}, id="a loop of pairs"
        ),
        pytest.param("for n, _ in KINDS.items(): yield Check(name=n)", {"a", "b"}, id="a loop over a named dict"),
        pytest.param("p, n = s['p'], f's.{s}'; yield Check(name=f'{n}.age')", {"s.<...>.age"}, id="an assignment"),
        pytest.param("yield made('a', 1); yield made(name=f'b.{x}')", {"a", "b.<...>"}, id="a helper's callers"),
    ],
)
def test_the_names_of_checks_are_read_as_they_are_written(source, names):
    helper = "def made(name, other=0):\n    return Check(name=name)\n" if "made(" in source else ""
    assert names_in(f"KINDS = {{'a': 1, 'b': 2}}\n{helper}def checks(s):\n    {source}\n") == names


def test_every_check_module_has_checks_and_no_check_may_be_called_anything():
    checking = {module.stem for module in modules() if module.stem.endswith("_check")}
    assert checking <= names_by_module().keys()
    assert [module for module, names in names_by_module().items() if VARIABLE in names] == []


@pytest.mark.parametrize(
    ("check", "pattern"),
    [
        ("user.app", "user.<...>"),
        ("user.app.flags", "user.<...>.flags"),
        ("user.of.two.dots", "user.<...>"),
        ("user.app\n.flags", "user.<...>.flags"),
        ("used", None),
    ],
)
def test_a_finding_is_of_the_pattern_that_spells_out_most(check, pattern):
    assert pattern_of(check, ["user.<...>", "user.<...>.flags", "version"]) == pattern


def test_what_was_never_seen_and_what_nobody_knows_is_named():
    names = names_by_module()["command_check"]
    assert list(unproven("command_check", green=names, red=names)) == []
    assert list(unproven("command_check", green=names, red=names - {"stdout"} | {"stderr"})) == [
        "command_check: stdout was never seen red by itself",
        "command_check: stderr was seen red by itself, and stands in no judge's source",
    ]
