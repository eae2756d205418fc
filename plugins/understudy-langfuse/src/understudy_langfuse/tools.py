"""Tool definitions and tool calls of the SDKs that people trace, in OpenAI's form."""

from __future__ import annotations

from typing import Any

from understudy_langfuse.shapes import Object, decoded, dumped, first, is_object, kind_of

__all__ = ["is_definition", "tool_call", "tool_definitions"]


def tool_definitions(value: Any) -> list[Object]:
    """Tool definitions in OpenAI's form.

    Takes OpenAI's (nested or flat), Anthropic's (``input_schema``), Gemini's
    (``functionDeclarations``), the retired ``functions``, and each of them in a JSON string. What
    is no function (a built-in search, say) stays as it is, for the dataset to judge.
    """
    found = decoded(value)
    if is_object(found):
        found = [found]
    if not isinstance(found, list):
        return []
    made: list[Object] = []
    for given in found:
        one = decoded(given)
        if not is_object(one):
            continue
        declared = first(one, "functionDeclarations", "function_declarations")
        if isinstance(declared, list):
            made += tool_definitions(declared)
        else:
            made.append(_definition(one))
    return made


def is_definition(value: Any) -> bool:
    """Whether a message's content is a tool definition: some tracers put them there."""
    return (
        is_object(value)
        and value.get("type") == "function"
        and is_object(value.get("function"))
        and "name" in value["function"]
    )


def _definition(one: Object) -> Object:
    if is_object(one.get("function")) or not isinstance(one.get("name"), str):
        return one
    if kind_of(one) not in {"", "function", "custom"}:
        return one
    parameters = first(one, "parameters", "input_schema", "inputSchema", "parametersJsonSchema")
    function: Object = {"name": one["name"]}
    if isinstance(one.get("description"), str):
        function["description"] = one["description"]
    if is_object(decoded(parameters)):
        function["parameters"] = decoded(parameters)
    if type(one.get("strict")) is bool:
        function["strict"] = one["strict"]
    return {"type": "function", "function": function}


def tool_call(given: Any, index: int) -> Object | None:
    """A tool call in OpenAI's form, or None where it is none.

    Args:
        given: OpenAI's, LangChain's (``args``), Anthropic's (``tool_use``), the AI SDK's
            (``tool-call``), Gemini's (``functionCall``) or OpenTelemetry's (``tool_call``).
        index: its place, for an id where it has none.
    """
    if not is_object(given):
        return None
    inner = first(given, "function", "functionCall", "function_call")
    named = inner if is_object(inner) else given
    name = first(named, "name", "toolName", "tool_name")
    if not isinstance(name, str):
        return None
    arguments = first(named, "arguments", "args", "input")
    found = first(given, "id", "call_id", "toolCallId", "tool_call_id") or named.get("id")
    return {
        "id": found if isinstance(found, str) and found else f"call_{index}",
        "type": "function",
        "function": {"name": name, "arguments": dumped({} if arguments is None else arguments)},
    }
