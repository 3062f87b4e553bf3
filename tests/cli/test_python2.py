"""Python 2 into Python 3."""

from pathlib import Path

import click
import pytest

from caffepy.cli.python2 import convert


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("print", "print()"),
        ("print 'a', b  # why", "print('a', b)  # why"),
        ("print 'a' % b,", "print('a' % b, end=' ')"),
        ("print >>sys.stderr, 'a', b", "print('a', b, file=sys.stderr)"),
        ("print >> log", "print(file=log)"),
        ("print ('a')", "print ('a')"),
        ("print ('a') % b", "print(('a') % b)"),
        ("print('a', b)", "print('a', b)"),
        ("if a: print b; print c", "if a: print(b); print(c)"),
        ("print {1: lambda x: x}[1]", "print({1: lambda x: x}[1])"),
        ("for i in xrange(3): print i", "for i in range(3): print(i)"),
        ("print 'one', \\\n    'two'", "print('one', \\\n    'two')"),
        ("print '''a\nprint b'''", "print('''a\nprint b''')"),
        ("x = 'print a'  # print b", "x = 'print a'  # print b"),
        ("self.print_all = printer", "self.print_all = printer"),
        ("except (A, B), e:", "except (A, B) as e:"),
        ("except (A, B):", "except (A, B):"),
        ("except A as e:", "except A as e:"),
        ("raise A, 'b' % c", "raise A('b' % c)"),
        ("raise A, b, c", "raise A(b).with_traceback(c)"),
        ("raise A('b', c)", "raise A('b', c)"),
        ("exec code in ns", "exec(code, ns)"),
        ("exec(code)", "exec(code)"),
        ("for k, v in d.iteritems():", "for k, v in d.items():"),
        ("d.itervalues().next", "d.values().next"),
        ("not d.has_key(k)", "not d.__contains__(k)"),
        ("iteritems = 3", "iteritems = 3"),
        ("raw_input('?')", "input('?')"),
        ("isinstance(a, basestring)", "isinstance(a, str)"),
        ("f(long=3)", "f(long=3)"),
        ("a <> b", "a != b"),
        ("`a` + `b`", "repr(a) + repr(b)"),
        ("x = 0755 + 10L + 0x1FL + 0 + 00", "x = 0o755 + 10 + 0x1F + 0 + 00"),
        ("x = 1.5e-3 + .5", "x = 1.5e-3 + .5"),
        ("ur'\\d' + u'a'", "r'\\d' + u'a'"),
        ("import cPickle", "import pickle as cPickle"),
        ("import cPickle as p, os", "import pickle as p, os"),
        ("from cPickle import load", "from pickle import load"),
        ("from StringIO import StringIO", "from io import StringIO"),
        ("import urllib2", "import urllib.request as urllib2"),
        ("import urllib, os", "import urllib.request, urllib.parse, os"),
        ("urllib.urlretrieve(a)", "urllib.request.urlretrieve(a)"),
        ("urllib.quote(a)", "urllib.parse.quote(a)"),
        ("import numpy as np", "import numpy as np"),
        ("from __future__ import print_function\nprint", "from __future__ import print_function\nprint"),
        ("if a:\n    b\n\tc", "if a:\n    b\n        c"),
    ],
)
def test_spellings(old: str, new: str) -> None:
    converted = convert(old)
    assert converted.text == new
    assert bool(converted.changes) == (old != new)


def test_changes_and_divisions_have_their_lines() -> None:
    converted = convert("a = 1\nprint a\nb = a / 2  # a / b\n\nc = a // 2\nprint `b`\nb /= 2\n")
    assert converted.changes == {2: ["print statement"], 6: ["print statement", "backticks"]}
    assert converted.divisions == [3, 7]
    assert convert("from __future__ import division\nb = a / 2").divisions == []


def test_python_3_stays_as_it_is() -> None:
    for path in Path(click.__file__).parent.glob("*.py"):
        text = path.read_text("utf-8")
        assert convert(text).text == text
