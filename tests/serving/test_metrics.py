from typing import Any

import httpx
import pytest
from openai import OpenAI
from prometheus_client.parser import text_string_to_metric_families

from homeroom.serving.app import serving
from homeroom.serving.settings import ServingSettings
from homeroom.workspace import Workspace

HELLO: Any = [{"role": "user", "content": "你好！"}]
Sample = tuple[str, frozenset[tuple[str, str]]]


def scrape(url: str) -> dict[Sample, float]:
    response = httpx.get(f"{url}/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def at(samples: dict[Sample, float], name: str, **labels: str) -> float:
    return samples.get((f"homeroom_{name}", frozenset(labels.items())), 0.0)


def test_what_was_done_is_counted_by_each_application_for_itself(workspace: Workspace) -> None:
    settings = ServingSettings(port=0, temperature=0.0)
    with serving(workspace, settings) as url, serving(workspace, settings) as other:
        with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
            whole = client.chat.completions.create(model="homeroom", messages=HELLO, n=2)
            list(client.chat.completions.create(model="homeroom", messages=HELLO, stream=True, max_tokens=3))
        assert whole.usage is not None
        for path in ("models/a", "models/b", "nothing", "nothing/else"):
            httpx.get(f"{url}/v1/{path}")
        httpx.request("PROPFIND", f"{url}/v1/models")
        httpx.get(f"{url}/healthz", headers={"Host": "evil.example"})
        seen, unseen = scrape(url), scrape(other)
    route = "/v1/chat/completions"
    assert at(seen, "requests_total", route=route, method="POST", status="200") == 2
    assert at(seen, "requests_total", route="/v1/models/{name}", method="GET", status="404") == 2
    assert at(seen, "requests_total", route="/v1/…", method="GET", status="404") == 2
    assert at(seen, "requests_total", route="/v1/models", method="other", status="405") == 1
    assert at(seen, "request_seconds_count", route=route) == 2
    assert at(seen, "answers_total", finish_reason="stop") == 2
    assert at(seen, "answers_total", finish_reason="length") == 1
    assert at(seen, "completion_tokens_total") == whole.usage.completion_tokens + 3
    assert at(seen, "prompt_tokens_total") == 3 * whole.usage.prompt_tokens
    assert at(seen, "time_to_first_token_seconds_count") == 1  # whole answers have no first token that one could see
    assert at(seen, "refused_total", reason="host") == 1
    assert at(seen, "answers_in_work") == at(seen, "answers_waiting") == 0
    assert at(seen, "model_info", model=workspace.registry.champion() or "") == 1
    assert at(unseen, "answers_total", finish_reason="stop") == 0
    assert at(unseen, "completion_tokens_total") == 0


@pytest.mark.parametrize("text", ["你好", "homeroom-secret"])
def test_neither_texts_nor_names_are_in_it(workspace: Workspace, text: str) -> None:
    with serving(workspace, ServingSettings(port=0)) as url:
        httpx.get(f"{url}/v1/{text}?{text}")
        httpx.get(f"{url}/{text}")
        assert text not in httpx.get(f"{url}/metrics").text
