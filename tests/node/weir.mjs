// One weir process for a test file.
import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import readline from "node:readline";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const binary = process.env.WEIR_BIN ?? path.resolve(here, "../../build/weir");

export async function startWeir(env, args = []) {
  const kept = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => /^(PATH|HOME|LANG)$|SAN_OPTIONS/.test(name)),
  );
  const child = spawn(binary, ["run", "--listen", "127.0.0.1:0", "--print-port", ...args], {
    env: { ...kept, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (data) => (said += data));
  const lines = readline.createInterface({ input: child.stdout });
  const log = [];
  const port = await new Promise((resolve, reject) => {
    lines.on("line", (line) => (port_seen(line) ? resolve(Number(line)) : log.push(line)));
    child.on("exit", (code) => reject(new Error(`weir ended with ${code}:\n${said}`)));
  });
  return {
    url: `http://127.0.0.1:${port}`,
    log,
    async stop() {
      child.removeAllListeners("exit");
      child.kill("SIGTERM");
      const [code] = await once(child, "exit");
      if (code !== 0 || /Sanitizer|runtime error: /.test(said))
        throw new Error(`weir ended with ${code}:\n${said}`);
    },
  };
}

function port_seen(line) {
  return /^\d+$/.test(line);
}
