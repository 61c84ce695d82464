"""Chat templates of foreign checkpoints that try to run code, read the machine or never end."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.abuse.suite import Case, Expected, Size, Suite
from tests.toy import assistant, talk, toy, user

from hocket.tokens.text import TextEncoder

# What nothing that a template writes may hold.
TELLTALES = ("<class", "<module", "<function", "<bound", "<built-in", "root:x:", "SECRET", "0x7f")

# CANARY is a file that must not come to be. Every entry is an expression.
ESCAPES = (
    "''.__class__",
    "''.__class__.__mro__[1].__subclasses__()",
    "''.__class__.__base__.__subclasses__()[140]",
    "''['__class__']",
    "''|attr('__class__')",
    "''|attr('__cla' ~ 'ss__')",
    "''|attr('\\x5f\\x5fclass\\x5f\\x5f')",
    "(''|attr('format'))('{0.__class__}', 1)",
    "'{0.__class__}'.format('')",
    "'{0.__class__.__mro__}'.format(messages)",
    "'{a.__init__.__globals__}'.format(a=cycler)",
    "'{a.__class__}'.format_map({'a': ''})",
    "'%s'|format(''.__class__)",
    "('{0.__cl' ~ 'ass__}').format(1)",
    "[].__class__",
    "{}.__class__.__base__",
    "().__class__.__bases__[0]",
    "(1).__class__",
    "true.__class__",
    "none.__class__",
    "range.__class__",
    "messages.__class__",
    "messages[0].__class__",
    "cycler.__init__.__globals__",
    "cycler.__init__.__globals__.os.system('touch CANARY')",
    "joiner.__init__.__globals__.os.popen('touch CANARY').read()",
    "namespace.__init__.__globals__.os.system('touch CANARY')",
    "lipsum.__globals__['os'].popen('touch CANARY').read()",
    "lipsum.__globals__.__builtins__.open('CANARY', 'w')",
    "dict.__class__",
    "dict.__call__.__globals__",
    "dict.fromkeys.__globals__",
    "dict.mro()",
    "namespace(__class__=1)",
    "namespace(__init__=1)",
    "strftime_now.__globals__",
    "strftime_now.__globals__.datetime",
    "strftime_now.__code__",
    "raise_exception.__globals__.json",
    "raise_exception.__closure__",
    "raise_exception.__code__.co_consts",
    "self.__init__.__globals__",
    "self._TemplateReference__context",
    "self.__class__",
    "caller.__globals__",
    "loop.__class__",
    "config.items()",
    "request.application.__globals__",
    "get_flashed_messages.__globals__",
    "url_for.__globals__",
    "environment.__class__",
    "_",
    "__builtins__",
    "__import__('os').system('touch CANARY')",
    "eval('1')",
    "exec('open(\"CANARY\", \"w\")')",
    "open('CANARY', 'w')",
    "open('/etc/passwd').read()",
    "import('os')",
    "os.system('touch CANARY')",
    "getattr('', '__class__')",
    "(messages|map(attribute='__class__')|list)",
    "(messages|selectattr('__class__')|list)",
    "(messages|groupby('__class__')|list)",
    "(['']|map('attr', '__class__')|list)",
    "([cycler]|map(attribute='__init__')|map(attribute='__globals__')|list)",
    "(['a']|sort(attribute='__class__'))",
    "(['']|sum(attribute='__class__'))",
    "messages.append(1)",
    "messages.clear()",
    "messages[0].update({'role': 'system'})",
    "messages[0].pop('role')",
    "(tools or []).append(1)",
    "range(10 ** 9)",
    "range(10 ** 12)|list",
    "lipsum(n=10 ** 9)",
    "messages[0]['content'].append(1)",
    "1 / 0",
    "1 + ''",
    "[][5]",
    "{}.a.b.c",
    "messages|nothing",
    "raise_exception('no')",
    "'a'.encode('nothing')",
    "strftime_now(5)",
    "strftime_now('%' * 100)",
    "''.join(1)",
)  # fmt: skip

WHOLE = (
    "{% include '/etc/passwd' %}",
    "{% import '/etc/passwd' as a %}",
    "{% extends '/etc/passwd' %}",
    "{% from 'os' import system %}",
    "{% set x = ''.__class__ %}{{ x }}",
    "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% for x in range(10 ** 10) %}a{% endfor %}",
    "{% with a = cycler.__init__ %}{{ a.__globals__ }}{% endwith %}",
    "{% call cycler.__init__() %}{% endcall %}",
    "{% filter attr('__class__') %}a{% endfilter %}",
    "{% generation %}{{ ''.__class__ }}{% endgeneration %}",
    "{% generation %}",
    "{% do messages.clear() %}",
    "{% debug %}",
    "{% python %}open('CANARY','w'){% endpython %}",
    "{{",
    "{% for %}",
    "{% endfor %}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{{ " + "[" * 200 + "]" * 200 + " }}",
)


def cases(count: int, folder: Path) -> Iterator[Case]:
    """Yield the templates."""
    canary = folder / "canary"
    for text in (*(f"{{{{ {one} }}}}" for one in ESCAPES), *WHOLE):
        template = text.replace("CANARY", str(canary))
        yield Case(text[:90], partial(_rendered, template, canary), Expected.EITHER)


def _rendered(template: str, canary: Path) -> str:
    tokenizer = toy().processor.tokenizer
    talked = talk(user("Hello"), assistant("Yes"))
    try:
        ids = TextEncoder(tokenizer, template).encode(talked).ids
        text = str(tokenizer.decode(ids))
        assert not any(mark in text for mark in TELLTALES), f"it wrote {text[:200]!r}"
        return text
    finally:
        assert not canary.exists(), "it ran a program"


SUITE = Suite(
    name="templates",
    tries="chat templates that reach for Python, files, programs or endless loops",
    means="refused or nothing; no object of Python is shown, the canary is never made",
    counts={Size.CI: len(ESCAPES) + len(WHOLE), Size.NIGHTLY: len(ESCAPES) + len(WHOLE)},
    cases=cases,
    seconds=5.0,
)
