"""A model that is a script: it answers a coding agent with the tool calls that it was given, one after the other.

    model.py SCRIPT RECORD [ADDRESS]

SCRIPT is a JSON list of steps: {"shell": COMMAND}, {"write": PATH, "content": TEXT},
{"edit": PATH, "old": TEXT, "new": TEXT} or {"read": PATH}. Each agent gets them as calls of its own tools. When all are
done the answer is the word `finished`.

RECORD gets one JSON object a line: {"asked": PATH} for each request, {"step": N, "result": TEXT} for what a tool said.
The first line of standard output is the port. ADDRESS is 127.0.0.1 unless given.

It speaks Anthropic Messages, OpenAI Responses and chat completions, and Gemini's generateContent, streamed and whole.
It keeps nothing between requests: which step is next is read from the conversation that the agent sends.
"""

import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STEPS = json.load(open(sys.argv[1]))
RECORD = open(sys.argv[2], "a")
LOCK = threading.Lock()
TOLD = set()


def record(entry):
    with LOCK:
        RECORD.write(json.dumps(entry) + "\n")
        RECORD.flush()


def result(number, text):
    """Records what a tool said, once: the agent sends the whole conversation again with each request."""
    with LOCK:
        known = number in TOLD
        TOLD.add(number)
    if not known:
        record({"step": number, "result": text})


def call_id(number):
    return f"call_polc_{number}"


def number_of(identifier):
    found = re.fullmatch(r"call_polc_(\d+).*", identifier or "")
    return int(found[1]) if found else None


def text_of(value):
    """The text in a tool's result, whatever shape the protocol gives it."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(text_of(v) for v in value)
    if isinstance(value, dict):
        for key in ("text", "output", "content", "error"):
            if key in value:
                return text_of(value[key])
        return json.dumps(value)
    return str(value)


# The shell tools, in the order in which they are taken where an agent has several.
SHELLS = ["Bash", "shell_command", "exec_command", "run_shell_command", "bash", "shell", "local_shell"]


def call(step, tools):
    """A step as (tool, arguments), in the words of the tools that the agent has."""
    def first(*names):
        return next((n for n in names if n in tools), None)

    if "shell" in step:
        name = first(*SHELLS)
        command = step["shell"]
        if name == "shell":
            return name, {"command": ["bash", "-c", command]}
        if name == "exec_command":
            return name, {"cmd": command, "yield_time_ms": 30000}
        arguments = {"command": command, "description": "a step of the test"}
        if name == "run_shell_command" and "is_background" in tools[name]:
            arguments["is_background"] = False
        return name, arguments
    if "write" in step:
        path, content = step["write"], step["content"]
        name = first("Write", "write_file", "write", "create")
        if name == "Write" or name == "write_file":
            return name, {"file_path": path, "content": content}
        if name == "write":
            return name, {"filePath": path, "content": content}
        if name == "create":
            return name, {"path": path, "file_text": content}
        lines = "".join(f"+{line}\n" for line in content.splitlines())
        return patch(tools, f"*** Add File: {path}\n{lines}")
    if "edit" in step:
        path, old, new = step["edit"], step["old"], step["new"]
        name = first("Edit", "replace", "edit")
        if name == "Edit":
            return name, {"file_path": path, "old_string": old, "new_string": new}
        if name == "replace" or (name == "edit" and "file_path" in tools[name]):
            return name, {"file_path": path, "old_string": old, "new_string": new, "instruction": "a step of the test"}
        if name == "edit" and "filePath" in tools[name]:
            return name, {"filePath": path, "oldString": old, "newString": new}
        if name == "edit":
            return name, {"path": path, "old_str": old, "new_str": new}
        return patch(tools, f"*** Update File: {path}\n@@\n-{old}\n+{new}\n")
    if "read" in step:
        path = step["read"]
        name = first("Read", "read_file", "read", "view")
        if name is None:
            return call({"shell": f"cat '{path}'"}, tools)
        if name == "Read" or name == "read_file":
            return name, {"file_path": path}
        return name, {"filePath" if name == "read" else "path": path}
    raise ValueError(step)


def patch(tools, body):
    """Codex edits by a patch: a tool of its own, or words of the shell."""
    text = f"*** Begin Patch\n{body}*** End Patch\n"
    if "apply_patch" in tools:
        return "apply_patch", {"input": text}
    return call({"shell": f"apply_patch <<'POLC'\n{text}POLC"}, tools)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def log_message(self, *_):
        pass

    def do_GET(self):
        record({"asked": "GET " + self.path})
        models = [{"id": "polc-test", "object": "model", "name": "polc-test"}]
        self.whole({"object": "list", "data": models, "models": models})

    do_HEAD = do_GET

    def do_POST(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        record({"asked": "POST " + self.path})
        try:
            asked = json.loads(body)
        except ValueError:
            return self.whole({})
        path = self.path.split("?")[0]
        if path.endswith("/count_tokens"):
            return self.whole({"input_tokens": 10})
        if path.endswith(":countTokens"):
            return self.whole({"totalTokens": 10})
        if path.endswith("/messages"):
            return self.anthropic_messages(asked)
        if path.endswith("/responses"):
            return self.openai_responses(asked)
        if path.endswith("/chat/completions"):
            return self.completions(asked)
        if "generateContent" in path or "GenerateContent" in path:
            return self.generate(asked, "stream" in path)
        return self.whole({})

    def next(self, tools, done):
        """What comes next, given the steps whose results the agent has sent: a call, or None for the end."""
        if not any(name in tools for name in SHELLS):
            return None
        number = max(done, default=-1) + 1
        if number >= len(STEPS):
            return None
        name, arguments = call(STEPS[number], tools)
        return number, name, arguments

    def whole(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, events):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for name, data in events:
            if name:
                self.wfile.write(f"event: {name}\n".encode())
            data = data if isinstance(data, str) else json.dumps(data)
            self.wfile.write(f"data: {data}\n\n".encode())
        self.wfile.flush()

    # Anthropic Messages.
    def anthropic_messages(self, asked):
        tools = {t.get("name"): json.dumps(t) for t in asked.get("tools") or []}
        done = []
        for message in asked.get("messages", []):
            if isinstance(message["content"], str):
                continue
            for block in message["content"]:
                number = number_of(block.get("tool_use_id"))
                if block.get("type") == "tool_result" and number is not None:
                    done.append(number)
                    result(number, text_of(block.get("content", "")))
        following = self.next(tools, done)
        if following is None:
            block, delta, reason = {"type": "text", "text": ""}, {"type": "text_delta", "text": "finished"}, "end_turn"
            full = {"type": "text", "text": "finished"}
        else:
            number, name, arguments = following
            block = {"type": "tool_use", "id": call_id(number), "name": name, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(arguments)}
            reason, full = "tool_use", dict(block, input=arguments)
        usage = {"input_tokens": 10, "output_tokens": 5, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
        message = {"id": f"msg_{len(done)}", "type": "message", "role": "assistant", "model": asked.get("model", "x"),
                   "stop_sequence": None, "usage": usage}
        if not asked.get("stream"):
            return self.whole(dict(message, content=[full], stop_reason=reason))
        self.stream([(e["type"], e) for e in [
            {"type": "message_start", "message": dict(message, content=[], stop_reason=None)},
            {"type": "content_block_start", "index": 0, "content_block": block},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage},
            {"type": "message_stop"},
        ]])

    # OpenAI Responses.
    def openai_responses(self, asked):
        tools, custom = {}, set()
        for tool in asked.get("tools") or []:
            name = tool.get("name") or tool.get("type")
            tools[name] = json.dumps(tool)
            if tool.get("type") == "custom":
                custom.add(name)
        done = []
        items = asked.get("input") or []
        for item in items if isinstance(items, list) else []:
            number = number_of(item.get("call_id"))
            if item.get("type", "").endswith("_output") and number is not None:
                done.append(number)
                result(number, text_of(item.get("output", "")))
        following = self.next(tools, done)
        if following is None:
            item = {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
                    "content": [{"type": "output_text", "text": "finished", "annotations": []}]}
        else:
            number, name, arguments = following
            item = {"id": f"fc_{number}", "call_id": call_id(number), "name": name, "status": "completed"}
            if name in custom:
                item.update(type="custom_tool_call", input=arguments["input"])
            else:
                item.update(type="function_call", arguments=json.dumps(arguments))
        usage = {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 5,
                 "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 15}
        response = {"id": f"resp_{len(done)}", "object": "response", "created_at": 0, "model": asked.get("model", "x")}
        if not asked.get("stream"):
            return self.whole(dict(response, status="completed", output=[item], usage=usage))
        self.stream([(e["type"], e) for e in [
            {"type": "response.created", "response": dict(response, status="in_progress", output=[])},
            {"type": "response.output_item.added", "output_index": 0, "item": item},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": dict(response, status="completed", output=[item], usage=usage)},
        ]])

    # OpenAI chat completions.
    def completions(self, asked):
        tools = {t["function"]["name"]: json.dumps(t) for t in asked.get("tools") or [] if "function" in t}
        done = []
        for message in asked.get("messages", []):
            number = number_of(message.get("tool_call_id"))
            if message.get("role") == "tool" and number is not None:
                done.append(number)
                result(number, text_of(message.get("content", "")))
        following = self.next(tools, done)
        if following is None:
            message, reason = {"role": "assistant", "content": "finished"}, "stop"
        else:
            number, name, arguments = following
            function = {"name": name, "arguments": json.dumps(arguments)}
            one = {"index": 0, "id": call_id(number), "type": "function", "function": function}
            message, reason = {"role": "assistant", "content": None, "tool_calls": [one]}, "tool_calls"
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        base = {"id": f"chat_{len(done)}", "created": 0, "model": asked.get("model", "x")}
        if not asked.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": reason}
            return self.whole(dict(base, object="chat.completion", choices=[choice], usage=usage))
        chunk = dict(base, object="chat.completion.chunk")
        self.stream([
            (None, dict(chunk, choices=[{"index": 0, "delta": message, "finish_reason": None}])),
            (None, dict(chunk, choices=[{"index": 0, "delta": {}, "finish_reason": reason}])),
            (None, dict(chunk, choices=[], usage=usage)),
            (None, "[DONE]"),
        ])

    # Gemini's generateContent. Its results carry the name of the tool; the number of results is the step.
    def generate(self, asked, streamed):
        tools = {}
        for group in asked.get("tools") or []:
            for tool in group.get("functionDeclarations") or []:
                tools[tool["name"]] = json.dumps(tool)
        done = []
        for content in asked.get("contents", []):
            for part in content.get("parts", []):
                answer = part.get("functionResponse")
                if answer is not None:
                    number = number_of(answer.get("id"))
                    number = len(done) if number is None else number
                    done.append(number)
                    result(number, text_of(answer.get("response", "")))
        following = self.next(tools, done)
        if following is None:
            part = {"text": "finished"}
        else:
            number, name, arguments = following
            part = {"functionCall": {"id": call_id(number), "name": name, "args": arguments}}
        answer = {
            "candidates": [{"index": 0, "content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15},
            "modelVersion": "polc-test",
        }
        if streamed:
            self.stream([(None, answer)])
        else:
            self.whole(answer)


server = ThreadingHTTPServer((sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1", 0), Handler)
server.daemon_threads = True
print(server.server_address[1], flush=True)
server.serve_forever()
