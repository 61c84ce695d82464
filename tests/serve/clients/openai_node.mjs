// Does with OpenAI's npm package what it is asked:
// node openai_node.mjs MODULES URL FEATURE IMAGE WAV VIDEO
// MODULES is a folder with node_modules/openai; anything wrong ends with another exit code than 0.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const [modules, url, feature, image, wav, video] = process.argv.slice(2);
const OpenAI = createRequire(`${modules}/`)("openai");
const model = "toy";
const schema = {
  type: "object",
  properties: { colour: { enum: ["red", "blue"] } },
  required: ["colour"],
  additionalProperties: false,
};
const paint = { type: "function", function: { name: "paint", parameters: schema } };

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none" });
const ask = (content, more = {}) => ({
  model,
  messages: [{ role: "user", content }],
  max_tokens: 4,
  temperature: 0,
  ...more,
});
const create = (...given) => client.chat.completions.create(...given);

const features = {
  async models() {
    const found = [];
    for await (const one of client.models.list()) found.push(one.id);
    assert.deepEqual(found, [model]);
  },
  async text() {
    const found = await create(ask("Hello"));
    assert.equal(found.usage.completion_tokens, 4);
    assert.ok(found._request_id);
  },
  async image() {
    const part = { type: "image_url", image_url: { url: `data:image/png;base64,${image}` } };
    const found = await create(ask([{ type: "text", text: "What?" }, part]));
    assert.ok(found.usage.prompt_tokens_details.image_tokens > 0);
  },
  async audio() {
    const part = { type: "input_audio", input_audio: { data: wav, format: "wav" } };
    const found = await create(ask([part]));
    assert.ok(found.usage.prompt_tokens_details.audio_tokens > 0);
  },
  async video() {
    const part = { type: "video_url", video_url: { url: `data:video/mp4;base64,${video}` } };
    const found = await create(ask([part]));
    assert.ok(found.usage.prompt_tokens_details.video_tokens > 0);
  },
  async "stream with usage"() {
    const whole = await create(ask("Hi"));
    let said = "";
    let usage;
    const more = { stream: true, stream_options: { include_usage: true } };
    for await (const chunk of await create(ask("Hi", more))) {
      said += chunk.choices[0]?.delta.content ?? "";
      usage = chunk.usage ?? usage;
    }
    assert.equal(said, whole.choices[0].message.content);
    assert.equal(usage.completion_tokens, 4);
  },
  async "n=2"() {
    const found = await create(ask("Hi", { n: 2 }));
    assert.deepEqual(found.choices.map((one) => one.index), [0, 1]);
  },
  async stop() {
    const said = (await create(ask("Hi", { max_tokens: 12 }))).choices[0].message.content;
    const stop = said.slice(3, 5);
    const found = await create(ask("Hi", { max_tokens: 12, stop }));
    assert.equal(found.choices[0].message.content, said.slice(0, said.indexOf(stop)));
  },
  async logprobs() {
    const found = await create(ask("Hi", { logprobs: true, top_logprobs: 2 }));
    assert.equal(found.choices[0].logprobs.content.length, 4);
  },
  async tools() {
    const more = { tools: [paint], tool_choice: "required", max_tokens: 120 };
    const found = await create(ask("Paint!", more));
    const [call] = found.choices[0].message.tool_calls;
    assert.ok(["red", "blue"].includes(JSON.parse(call.function.arguments).colour));
  },
  async "JSON schema"() {
    const response_format = { type: "json_schema", json_schema: { name: "c", strict: true, schema } };
    const found = await client.chat.completions.parse(
      ask("Which?", { response_format, max_tokens: 120 }),
    );
    assert.ok(["red", "blue"].includes(found.choices[0].message.parsed.colour));
  },
  async responses() {
    const more = { model, input: "Hi", max_output_tokens: 6, temperature: 0 };
    const whole = await client.responses.create(more);
    let said = "";
    for await (const event of await client.responses.create({ ...more, stream: true }))
      if (event.type === "response.output_text.delta") said += event.delta;
    assert.equal(said, whole.output_text);
  },
  async transcription() {
    const file = await OpenAI.toFile(Buffer.from(wav, "base64"), "a.wav");
    const found = await client.audio.transcriptions.create({ model, file });
    assert.equal(typeof found.text, "string");
  },
  async "early close"() {
    const stopper = new AbortController();
    const more = { stream: true, min_tokens: 1900, max_tokens: 1900 };
    for await (const _ of await create(ask("Hi", more), { signal: stopper.signal })) {
      stopper.abort();
      break;
    }
  },
  async "error classes"() {
    const part = { type: "image_url", image_url: { url: "data:image/png;base64,aGVsbG8=" } };
    await assert.rejects(create(ask([part])), OpenAI.BadRequestError);
  },
};
features["no retries"] = features["error classes"];

await features[feature]();
