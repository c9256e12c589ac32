// One vendor's SDK for Node.js as a client of weir: does the same few things as tests/harness/sdk.py
// and prints what it got as one JSON object.
//
//   node sdk-client.mjs SDK URL MODEL KEY

import Anthropic from '@anthropic-ai/sdk';
import {
  BedrockRuntimeClient,
  ConverseCommand,
  ConverseStreamCommand,
} from '@aws-sdk/client-bedrock-runtime';
import { GoogleGenAI } from '@google/genai';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import OpenAI from 'openai';

const [, , sdk, url, model, key] = process.argv;

const PNG =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const PARAMETERS = {
  type: 'object',
  properties: { city: { type: 'string' } },
  required: ['city'],
};
const SCHEMA = {
  type: 'object',
  properties: { city: { type: 'string' }, population: { type: 'integer' } },
  required: ['city', 'population'],
  additionalProperties: false,
};
const TOOL = 'get_weather';

// Each client: make(), options(text, what), ask(options), stream(options), loop(text, result).
// Answers are {text, calls: [[id, name, arguments]], finish, input, output}.

const chat = {
  make: () => new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 }),
  options(text, what) {
    const more = {};
    let content = text;
    if (what === 'image')
      content = [
        { type: 'text', text },
        { type: 'image_url', image_url: { url: `data:image/png;base64,${PNG}` } },
      ];
    if (what === 'tools')
      more.tools = [
        { type: 'function', function: { name: TOOL, description: 'x', parameters: PARAMETERS } },
      ];
    if (what === 'structured')
      more.response_format = {
        type: 'json_schema',
        json_schema: { name: 'city', schema: SCHEMA, strict: true },
      };
    return {
      model,
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content },
      ],
      ...more,
    };
  },
  answer(got) {
    const { message, finish_reason: finish } = got.choices[0];
    return {
      text: message.content ?? '',
      calls: (message.tool_calls ?? []).map((c) => [
        c.id,
        c.function.name,
        JSON.parse(c.function.arguments),
      ]),
      finish,
      input: got.usage?.prompt_tokens,
      output: got.usage?.completion_tokens,
    };
  },
  async ask(client, options) {
    return this.answer(await client.chat.completions.create(options));
  },
  async stream(client, options) {
    const stream = client.chat.completions.stream({
      ...options,
      stream_options: { include_usage: true },
    });
    return this.answer(await stream.finalChatCompletion());
  },
  async loop(client, text, result) {
    const options = this.options(text, 'tools');
    const got = await client.chat.completions.create(options);
    const { message } = got.choices[0];
    options.messages.push(message, {
      role: 'tool',
      tool_call_id: message.tool_calls[0].id,
      content: result,
    });
    return this.ask(client, options);
  },
};

const anthropic = {
  make: () => new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0 }),
  options(text, what) {
    const more = {};
    const content = [{ type: 'text', text }];
    if (what === 'image')
      content.push({
        type: 'image',
        source: { type: 'base64', media_type: 'image/png', data: PNG },
      });
    if (what === 'tools')
      more.tools = [{ name: TOOL, description: 'x', input_schema: PARAMETERS }];
    if (what === 'structured')
      more.output_config = { format: { type: 'json_schema', schema: SCHEMA } };
    return {
      model,
      max_tokens: 4096,
      system: 'Be brief.',
      messages: [{ role: 'user', content }],
      ...more,
    };
  },
  answer(got) {
    const { usage } = got;
    return {
      text: got.content.map((b) => (b.type === 'text' ? b.text : '')).join(''),
      calls: got.content
        .filter((b) => b.type === 'tool_use')
        .map((b) => [b.id, b.name, b.input]),
      finish: got.stop_reason,
      input:
        usage.input_tokens +
        (usage.cache_read_input_tokens ?? 0) +
        (usage.cache_creation_input_tokens ?? 0),
      output: usage.output_tokens,
    };
  },
  async ask(client, options) {
    return this.answer(await client.messages.create(options));
  },
  async stream(client, options) {
    return this.answer(await client.messages.stream(options).finalMessage());
  },
  async loop(client, text, result) {
    const options = this.options(text, 'tools');
    const got = await client.messages.create(options);
    const call = got.content.find((b) => b.type === 'tool_use');
    options.messages.push(
      { role: 'assistant', content: got.content },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: call.id, content: result }] },
    );
    return this.ask(client, options);
  },
};

const gemini = {
  make: () => new GoogleGenAI({ apiKey: key, httpOptions: { baseUrl: url } }),
  options(text, what) {
    const config = { systemInstruction: 'Be brief.' };
    const parts = [{ text }];
    if (what === 'image') parts.push({ inlineData: { mimeType: 'image/png', data: PNG } });
    if (what === 'tools')
      config.tools = [
        {
          functionDeclarations: [
            { name: TOOL, description: 'x', parametersJsonSchema: PARAMETERS },
          ],
        },
      ];
    if (what === 'structured') {
      config.responseMimeType = 'application/json';
      config.responseJsonSchema = SCHEMA;
    }
    return { model, contents: [{ role: 'user', parts }], config };
  },
  answer(chunks) {
    const got = { text: '', calls: [], finish: '' };
    for (const chunk of chunks) {
      const candidate = chunk.candidates?.[0];
      for (const part of candidate?.content?.parts ?? []) {
        const call = part.functionCall;
        if (call) got.calls.push([call.id ?? null, call.name, call.args]);
        else if (!part.thought) got.text += part.text ?? '';
      }
      got.finish = candidate?.finishReason ?? got.finish;
      got.input = chunk.usageMetadata?.promptTokenCount ?? got.input;
      got.output = chunk.usageMetadata?.candidatesTokenCount ?? got.output;
    }
    return got;
  },
  async ask(client, options) {
    return this.answer([await client.models.generateContent(options)]);
  },
  async stream(client, options) {
    const chunks = [];
    for await (const chunk of await client.models.generateContentStream(options))
      chunks.push(chunk);
    return this.answer(chunks);
  },
  async loop(client, text, result) {
    const options = this.options(text, 'tools');
    const got = await client.models.generateContent(options);
    const { content } = got.candidates[0];
    const call = content.parts.find((p) => p.functionCall).functionCall;
    options.contents.push(content, {
      role: 'user',
      parts: [{ functionResponse: { id: call.id, name: call.name, response: { result } } }],
    });
    return this.ask(client, options);
  },
};

const bedrock = {
  make: () =>
    new BedrockRuntimeClient({
      region: 'us-east-1',
      endpoint: url,
      maxAttempts: 1,
      credentials: { accessKeyId: 'AKIAWEIRTEST00000001', secretAccessKey: 'weir-test-secret' },
      // Its own choice is HTTP/2 from the first byte; what stands before weir may know HTTP/1 only.
      ...(process.env.WEIR_TEST_HTTP === '2' && { requestHandler: new NodeHttpHandler() }),
    }),
  options(text, what) {
    const more = {};
    const content = [{ text }];
    if (what === 'image')
      content.push({ image: { format: 'png', source: { bytes: Buffer.from(PNG, 'base64') } } });
    if (what === 'tools')
      more.toolConfig = {
        tools: [
          { toolSpec: { name: TOOL, description: 'x', inputSchema: { json: PARAMETERS } } },
        ],
      };
    if (what === 'structured')
      more.outputConfig = {
        textFormat: {
          type: 'json_schema',
          structure: { jsonSchema: { name: 'city', schema: JSON.stringify(SCHEMA) } },
        },
      };
    return {
      modelId: model,
      system: [{ text: 'Be brief.' }],
      inferenceConfig: { maxTokens: 4096 },
      messages: [{ role: 'user', content }],
      ...more,
    };
  },
  answer(content, finish, usage) {
    return {
      text: content.map((b) => b.text ?? '').join(''),
      calls: content
        .filter((b) => b.toolUse)
        .map((b) => [b.toolUse.toolUseId, b.toolUse.name, b.toolUse.input]),
      finish,
      input:
        usage.inputTokens + (usage.cacheReadInputTokens ?? 0) + (usage.cacheWriteInputTokens ?? 0),
      output: usage.outputTokens,
    };
  },
  async ask(client, options) {
    const got = await client.send(new ConverseCommand(options));
    return this.answer(got.output.message.content, got.stopReason, got.usage);
  },
  async stream(client, options) {
    const blocks = [];
    let finish, usage;
    const got = await client.send(new ConverseStreamCommand(options));
    for await (const event of got.stream) {
      const start = event.contentBlockStart;
      const delta = event.contentBlockDelta;
      if (start)
        blocks[start.contentBlockIndex] = { toolUse: { ...start.start.toolUse, input: '' } };
      if (delta) {
        const block = (blocks[delta.contentBlockIndex] ??= {});
        if (delta.delta.text !== undefined) block.text = (block.text ?? '') + delta.delta.text;
        if (delta.delta.toolUse) block.toolUse.input += delta.delta.toolUse.input;
      }
      finish = event.messageStop?.stopReason ?? finish;
      usage = event.metadata?.usage ?? usage;
    }
    for (const block of blocks)
      if (block?.toolUse) block.toolUse.input = JSON.parse(block.toolUse.input || '{}');
    return this.answer(blocks.filter(Boolean), finish, usage);
  },
  async loop(client, text, result) {
    const options = this.options(text, 'tools');
    const got = await client.send(new ConverseCommand(options));
    const { message } = got.output;
    const call = message.content.find((b) => b.toolUse).toolUse;
    options.messages.push(message, {
      role: 'user',
      content: [{ toolResult: { toolUseId: call.toolUseId, content: [{ text: result }] } }],
    });
    return this.ask(client, options);
  },
};

const it = { openai_chat: chat, anthropic, gemini, bedrock }[sdk];
const client = it.make();
const results = {};

async function attempt(name, run) {
  try {
    results[name] = await run();
  } catch (error) {
    const status = error.status ?? error.$metadata?.httpStatusCode ?? null;
    results[name] = { error: { status, message: String(error.message), name: error.name } };
  }
}

const questions = [
  ['text', 'Grüße 🌊', 'text'],
  ['image', 'look', 'image'],
  ['tools', 'weather', 'tools'],
  ['both', 'both', 'tools'],
  ['structured', 'Paris', 'structured'],
  ['error', 'fail 429', 'text'],
];
for (const [name, text, what] of questions) {
  await attempt(name, () => it.ask(client, it.options(text, what)));
  await attempt(`${name} streamed`, () => it.stream(client, it.options(text, what)));
}
await attempt('loop', () => it.loop(client, 'weather', 'It is sunny.'));
console.log(JSON.stringify(results));
