"""A template is somebody else's program: what it may use, and that it gets no further."""

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from homeroom.text.errors import ChatTemplateError
from homeroom.text.sandbox import write_out

TALK = [{"role": "user", "content": "<b>'é'</b>"}, {"role": "assistant", "content": "2"}]


def written(template: str) -> str:
    return write_out(template, TALK, {"bos_token": "<s>"}, for_generation=True)


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}\n    {% if loop.first %}{% continue %}{% endif %}\n{{ m.content }}\n{% endfor %}\n",
        "{{ messages[0] | tojson }} {{ messages | tojson(indent=2) }}",
        "{{ messages[0] | tojson(separators=(',', ':'), ensure_ascii=true, sort_keys=true) }}",
        "{% set ns = namespace(a=1) %}{% set ns.a = ns.a + 1 %}{{ ns.a }}{{ bos_token }}{{ eos_token }}",
        "{{ dict(a=1).a }}{{ messages | map(attribute='role') | join }}{{ tools is none }}{{ nothing is defined }}",
        "{% if add_generation_prompt %}go{% endif %}{{ 'a' 'b' }}{{ '%s' % messages|length }}{{ messages[-1]['x'] }}",
        "{% macro say(m) %}[{{ m.content | trim }}]{% endmacro %}{% for m in messages %}{{ say(m) }}{% endfor %}\n\n",
        "{{ strftime_now('%Y') | length }}",
    ],
)
def test_what_transformers_offers_is_there(template: str) -> None:
    theirs, _ = render_jinja_template([TALK], chat_template=template, add_generation_prompt=True, bos_token="<s>")
    assert written(template) == theirs[0]


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__.__base__ }}",
        "{{ ''['__class__'] ~ ().__class__.__base__ }}",
        "{{ tojson.__globals__['json'] }}{{ cycler.__init__.__globals__ }}",
        "{{ dict.fromkeys }}{{ dict.__base__.__subclasses__() }}",
        "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
        "{{ namespace(__class__=1) }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ messages.append(1) }}",
        "{{ dict.update(messages[0], role='system') }}",
        "{{ messages[0].update(role='system') }}",
        "{{ messages.clear() }}",
        "{% for i in range(10**9) %}x{% endfor %}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{{ open('/etc/passwd').read() }}",
        "{{ lipsum.__globals__.os.popen('id').read() }}",
        "{{ messages[0].content + 1 }}",
        "{{ 1 // 0 }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    ],
)
def test_what_a_template_may_not_do_fails_with_a_clear_error(template: str) -> None:
    before = [dict(message) for message in TALK]
    with pytest.raises(ChatTemplateError, match=r"^the chat template failed: .+"):
        written(template)
    assert before == TALK


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception.__globals__ }}",
        "{{ '{0.__class__.__init__}'.format(messages) }}",
        "{{ messages | attr('__class__') | attr('__base__') }}",
        "{{ messages[0].content.__class__ }}{{ bos_token['__doc__'] }}",
    ],
)
def test_what_python_keeps_for_itself_is_nothing(template: str) -> None:
    assert written(template) == ""


def test_what_is_no_jinja_is_named_with_its_line() -> None:
    with pytest.raises(ChatTemplateError, match="no valid Jinja, line 2: Encountered unknown tag 'fo'"):
        written("\n{% fo m in messages %}")


def test_a_template_refuses_in_its_own_words() -> None:
    with pytest.raises(ValueError, match=r"^No, thank you\.$"):
        written("{{ raise_exception('No, thank you.') }}")
