// Writes traces and scores with Langfuse's npm packages, unchanged; prints what it wrote.
import { createRequire } from "node:module";

const [packages, url, publicKey, secretKey, environment] = process.argv.slice(2);
const require = createRequire(packages + "/");
const { BasicTracerProvider } = require("@opentelemetry/sdk-trace-base");
const { LangfuseSpanProcessor } = require("@langfuse/otel");
const { setLangfuseTracerProvider, startObservation } = require("@langfuse/tracing");
const { LangfuseClient } = require("@langfuse/client");
const { Langfuse } = require("langfuse");

const keys = { publicKey, secretKey, baseUrl: url };
const processor = new LangfuseSpanProcessor({ ...keys, environment, exportMode: "batched" });
setLangfuseTracerProvider(new BasicTracerProvider({ spanProcessors: [processor] }));
const client = new LangfuseClient(keys);

const tool = {
  type: "function",
  function: { name: "track", parameters: { type: "object", properties: {} } },
};
const call = {
  id: "call_1", type: "function", function: { name: "track", arguments: "{\"order\":7}" },
};
const turns = [
  [[{ role: "user", content: "Where is order 7?" }],
   { role: "assistant", content: null, tool_calls: [call] }],
  [[{ role: "user", content: "Where is order 7?" },
    { role: "assistant", content: null, tool_calls: [call] },
    { role: "tool", tool_call_id: "call_1", content: "on its way" }],
   { role: "assistant", content: "It is on its way." }],
];
const written = [];
for (const [messages, answer] of turns) {
  const generation = startObservation("triage", {
    model: "gpt-4o", input: { messages, tools: [tool] }, metadata: { tier: "pro" },
  }, { asType: "generation" });
  generation.update({ output: answer, usageDetails: { input: 9, output: 3, total: 12 } }).end();
  client.score.observation({ otelSpan: generation.otelSpan },
    { name: "helpful", value: 0.75, environment });
  written.push(`langfuse:${generation.traceId}/${generation.id}`);
}
await processor.forceFlush();
await client.flush();
await processor.shutdown();

// The client of version 3, which sends everything by the batch ingestion.
const old = new Langfuse({ ...keys, environment, flushAt: 1 });
const trace = old.trace({ name: "old", tags: ["legacy"], sessionId: "s-old" });
const generation = trace.generation({
  name: "triage", model: "gpt-3.5-turbo", input: [{ role: "user", content: "Hello" }],
});
generation.end({ output: "Hi." });
trace.score({ name: "helpful", value: 1 });
await old.shutdownAsync();
written.push(`langfuse:${trace.id}/${generation.id}`);
const read = await client.api.observations.getMany({ limit: 10, environment: [environment] });
console.log(JSON.stringify({ written, read: read.data.length }));
