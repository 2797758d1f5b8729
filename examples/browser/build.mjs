// Builds the page into dist/: `node build.mjs [SETTINGS]`. With `--serve`, it also serves the page on http://localhost:5173
// (or PORT), and builds it anew each time it is loaded.

import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import * as esbuild from 'esbuild';

const here = fileURLToPath(new URL('.', import.meta.url));
const out = `${here}dist`;
const [file = `${here}settings.json`] = process.argv.slice(2).filter((argument) => argument !== '--serve');

const settings = JSON.parse(await readFile(file, 'utf8'));
const missing = ['hallpass', 'issuer', 'client_id', 'scope', 'region', 'buckets'].filter((name) => !settings[name]);
if (missing.length > 0) throw new Error(`${file} lacks ${missing.join(', ')}`);
settings.hallpass = settings.hallpass.replace(/\/$/, '');

/** The hosts that the page speaks to, and no others. A provider may have its token endpoint on another host than its own
 * name: `connect` has that one. */
const { s3_endpoint: endpoint, region, buckets } = settings;
const hosts = [
  settings.hallpass,
  settings.issuer,
  ...(endpoint ? [endpoint] : buckets.map(({ name }) => `https://${name}.s3.${region}.amazonaws.com`)),
  ...(settings.connect ?? []),
];
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  `connect-src ${[...new Set(hosts.map((url) => new URL(url).origin))].join(' ')}`,
  "base-uri 'none'",
  "form-action 'none'",
  "require-trusted-types-for 'script'",
  'trusted-types default',
].join('; ');

await mkdir(out, { recursive: true });
await writeFile(`${out}/index.html`, (await readFile(`${here}index.html`, 'utf8')).replace('%CSP%', policy));
for (const name of ['style.css', 'icon.svg']) await cp(here + name, `${out}/${name}`);

const options = {
  entryPoints: [`${here}app.js`],
  outdir: out,
  bundle: true,
  format: 'esm',
  target: 'es2022',
  minify: true,
  define: { SETTINGS: JSON.stringify(settings) },
  logLevel: 'warning',
};
if (process.argv.includes('--serve')) {
  const context = await esbuild.context(options);
  const { port } = await context.serve({ servedir: out, host: 'localhost', port: Number(process.env.PORT ?? 5173) });
  console.log(`http://localhost:${port}/`); // providers and CORS rules know this name, and not 127.0.0.1
} else {
  await esbuild.build(options);
}
