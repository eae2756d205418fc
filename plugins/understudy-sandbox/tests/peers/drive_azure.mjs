// Drives the sandbox's Azure face with the npm `openai` package's AzureOpenAI, unchanged: files,
// jobs, chat through a deployment (made by plain requests to Resource Manager). Prints one JSON line.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { clockOf, collect } from "./clock.mjs";

const [packages, url, key, trainingPath, armToken, deployments] = process.argv.slice(2);
const require = createRequire(packages + "/");
const { AzureOpenAI, OpenAI, toFile } = require("openai");
const options = { endpoint: url, apiKey: key, apiVersion: "2025-04-01-preview", maxRetries: 0 };
const client = new AzureOpenAI(options);
const v1 = new OpenAI({ baseURL: `${url}/openai/v1`, apiKey: key, maxRetries: 0 });
const jobs = client.fineTuning.jobs;
const { advance, reach } = clockOf(url, key);
const seen = {};

async function arm(method, name, body) {
  const reply = await fetch(`${url}${deployments}/${name}?api-version=2025-06-01`, {
    method,
    headers: { Authorization: `Bearer ${armToken}`, "content-type": "application/json" },
    body: body && JSON.stringify(body),
  });
  return reply.status;
}

const file = await client.files.create({
  file: await toFile(readFileSync(trainingPath), "train.jsonl"),
  purpose: "fine-tune",
});
seen.file = file.status;
await reach(() => client.files.retrieve(file.id), ["processed"], 1);
const ask = { model: "gpt-4o-mini", training_file: file.id, trainingType: "developer" };
const job = await jobs.create({ ...ask, suffix: "node" });
seen.created = job.status;
await reach(() => jobs.retrieve(job.id), ["running"], 1);
seen.pause = (await jobs.pause(job.id)).status;
await reach(() => jobs.retrieve(job.id), ["paused"], 1);
seen.resume = (await jobs.resume(job.id)).status;
const done = await reach(() => jobs.retrieve(job.id), ["succeeded", "failed"], 5);
seen.done = done.status;
seen.model = done.fine_tuned_model;
const other = await jobs.create(ask);
seen.cancel = (await jobs.cancel(other.id)).status;
const listed = (await collect(jobs.list({ limit: 1 }))).map((one) => one.id);
seen.jobs = listed.includes(job.id) && listed.includes(other.id);
seen.checkpoint = (await collect(jobs.checkpoints.list(job.id)))[0].fine_tuned_model_checkpoint;
seen.put = await arm("PUT", "node", {
  sku: { name: "DeveloperTier", capacity: 1 },
  properties: { model: { format: "OpenAI", name: seen.model, version: "1" } },
});
await advance(31);
const messages = [{ role: "user", content: "track order red boots" }];
const reply = await client.chat.completions.create({ model: "node", messages });
seen.answer = reply.choices[0].message.content;
seen.filtered = reply.choices[0].content_filter_results.hate.filtered;
let streamed = "";
for await (const chunk of await v1.chat.completions.create({
  model: "node", messages, stream: true,
})) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
}
seen.streamed = streamed;
seen.gone = await arm("DELETE", "node");
await client.files.delete(file.id);
await advance(1);
seen.deleted = await client.files.retrieve(file.id).catch((error) => error.status);
console.log(JSON.stringify(seen));
