// Signature Version 4 as the JavaScript SDKs have it: each verifies what the other signs.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import readline from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Sha256 } from "@aws-crypto/sha256-js";
import { SignatureV4 } from "@smithy/signature-v4";

const here = path.dirname(fileURLToPath(import.meta.url));
const weir = process.env.WEIR_BIN ?? path.resolve(here, "../../build/weir");
const program = path.join(path.dirname(weir), "tests", "sigv4_tool");
const now = new Date("2026-03-04T05:06:07Z");
const key = { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "wJalrXUtnFEMI/EXAMPLEKEY" };
const host = "bedrock-runtime.eu-west-1.amazonaws.com";
const paths = [
  "/",
  "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse",
  "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.x%3A0/invoke",
  "/a%20b/(x)/%E1%88%B4/~c_d-e.f",
  "//double//slashes//",
  "/./dots/../here/",
];

let tool;
const answers = [];
let wakes = [];

before(() => {
  if (!fs.existsSync(program)) return;
  tool = spawn(program, [], { stdio: ["pipe", "pipe", "inherit"] });
  let lines = [];
  readline.createInterface({ input: tool.stdout }).on("line", (line) => {
    if (line !== "") return lines.push(line);
    answers.push(lines);
    lines = [];
    wakes.shift()?.();
  });
});
after(() => tool?.stdin.end());

async function ask(action, request, { secret = key.secretAccessKey, at = now, more = [] } = {}) {
  const query = Object.entries(request.query ?? {})
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
    .join("&");
  const lines = [
    `do ${action}`,
    `now ${Math.floor(at.getTime() / 1000)}`,
    `key ${key.accessKeyId} ${secret}`,
    "scope bedrock eu-west-1",
    `method ${request.method}`,
    `path ${request.path}`,
    `query ${query}`,
    ...Object.entries(request.headers).map(([name, value]) => `h ${name}:${value}`),
    `body ${Buffer.from(request.body ?? "").toString("hex")}`,
    ...more,
  ];
  const answered = new Promise((resolve) => wakes.push(resolve));
  tool.stdin.write(lines.join("\n") + "\n\n");
  await answered;
  return answers.shift();
}

const signer = new SignatureV4({
  credentials: key,
  region: "eu-west-1",
  service: "bedrock",
  sha256: Sha256,
});
const requestOf = (path, query = {}) => ({
  method: "POST",
  protocol: "https:",
  hostname: host,
  path,
  query,
  headers: { host, "content-type": "application/json" },
  body: '{"messages":[]}',
});
const queries = [{}, { b: "2", a: "1/:é" }];

test("signs as @smithy/signature-v4 does", async (t) => {
  if (!tool) return t.skip("sigv4_tool is not built");
  for (const path of paths)
    for (const query of queries) {
      const theirs = await signer.sign(requestOf(path, query), { signingDate: now });
      const ours = Object.fromEntries(
        (await ask("sign", requestOf(path, query), { more: ["hash"] })).map((line) => {
          const [name, ...rest] = line.split(": ");
          return [name.toLowerCase(), rest.join(": ")];
        }),
      );
      for (const name of ["x-amz-date", "x-amz-content-sha256", "authorization"])
        assert.equal(ours[name], theirs.headers[name], `${name} of ${path}`);
    }
});

test("takes what @smithy/signature-v4 signs, and refuses what was altered", async (t) => {
  if (!tool) return t.skip("sigv4_tool is not built");
  const check = async (request, how) => (await ask("check", request, how))[0].split(":")[0];
  for (const path of paths)
    for (const query of queries) {
      const signed = await signer.sign(requestOf(path, query), { signingDate: now });
      assert.equal(await check(signed), "OK", path);
      assert.equal(await check(signed, { secret: "other" }), "BAD_SIGNATURE");
      assert.equal(await check(signed, { at: new Date(now.getTime() + 301e3) }), "SKEW");
      assert.equal(await check({ ...signed, body: "{}" }), "BODY_MISMATCH");
      assert.equal(await check({ ...signed, path: path + "x" }), "BAD_SIGNATURE");
      const headers = { ...signed.headers, "content-type": "text/plain" };
      assert.equal(await check({ ...signed, headers }), "BAD_SIGNATURE");
    }
});

test("takes what @smithy/signature-v4 presigns", async (t) => {
  if (!tool) return t.skip("sigv4_tool is not built");
  for (const path of paths) {
    const request = { ...requestOf(path, { a: "1/:é" }), method: "GET", body: undefined };
    const signed = await signer.presign(request, { signingDate: now, expiresIn: 60 });
    const verdict = (await ask("check", signed))[0];
    assert.match(verdict, /^OK/, `${path}: ${verdict}`);
    const late = await ask("check", signed, { at: new Date(now.getTime() + 61e3) });
    assert.match(late[0], /^EXPIRED/);
  }
});
