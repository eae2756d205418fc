// Drives a sandbox with the npm `openai` package, unchanged; prints what it saw as one JSON line.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { clockOf, collect } from "./clock.mjs";

const [packages, url, key, trainingPath, batchText] = process.argv.slice(2);
const require = createRequire(packages + "/");
const { OpenAI, toFile } = require("openai");
const client = new OpenAI({ baseURL: url, apiKey: key, maxRetries: 0 });
const jobs = client.fineTuning.jobs;
const { reach } = clockOf(url.replace(/\/v1$/, ""), key);
const seen = {};

const file = await client.files.create({
  file: await toFile(readFileSync(trainingPath), "train.jsonl"),
  purpose: "fine-tune",
});
seen.file = (await client.files.retrieve(file.id)).purpose;
const ask = { model: "gpt-4o-mini", training_file: file.id, metadata: { peer: "node" } };
const job = await jobs.create({ ...ask, suffix: "node" });
await reach(() => jobs.retrieve(job.id), ["running"], 1);
seen.pause = (await jobs.pause(job.id)).status;
seen.paused = (await reach(() => jobs.retrieve(job.id), ["paused"], 1)).status;
seen.resume = (await jobs.resume(job.id)).status;
const done = await reach(() => jobs.retrieve(job.id), ["succeeded", "failed"], 5);
seen.done = done.status;
seen.model = done.fine_tuned_model;
const other = await jobs.create(ask);
seen.cancel = (await jobs.cancel(other.id)).status;
await jobs.create(ask);
seen.jobs = (await collect(jobs.list({ limit: 1, metadata: { peer: "node" } }))).length;
const events = await collect(jobs.listEvents(job.id, { limit: 3 }));
seen.losses = events.filter((e) => e.type === "metrics").map((e) => e.data.train_loss);
const points = await collect(jobs.checkpoints.list(job.id, { limit: 1 }));
seen.checkpoints = points.map((p) => p.fine_tuned_model_checkpoint);
const messages = [{ role: "user", content: "track order red boots" }];
const reply = await client.chat.completions.create({ model: seen.model, messages });
seen.answer = reply.choices[0].message.content;
let streamed = "";
for await (const chunk of await client.chat.completions.create({
  model: seen.model, messages, stream: true,
})) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
}
seen.streamed = streamed;
const input = await client.files.create({
  file: await toFile(Buffer.from(batchText.replaceAll("MODEL", seen.model)), "batch.jsonl"),
  purpose: "batch",
});
const batch = await client.batches.create({
  input_file_id: input.id, endpoint: "/v1/chat/completions", completion_window: "24h",
});
const ended = await reach(() => client.batches.retrieve(batch.id), ["completed", "failed"], 2);
seen.batch = ended.status;
const output = await (await client.files.content(ended.output_file_id)).text();
seen.results = output.trim().split("\n").length;
seen.batches = (await collect(client.batches.list({ limit: 1 }))).length;
seen.deleted = (await client.files.delete(file.id)).deleted;
console.log(JSON.stringify(seen));
