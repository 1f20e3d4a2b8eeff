// Work that V8 compiles, optimizes and throws away again; prints sums that every processor must agree on.
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');

function integers(n) { let a = 1 | 0, b = 7 | 0; for (let i = 0; i < n; i++) { a = (Math.imul(a, 1103515245) + 12345) | 0; b ^= (a >>> 16) + (b << 3) - (b >>> 7); } return b; }
function floats(n) { let x = 0.5, y = 0; for (let i = 1; i < n; i++) { x = 3.9 * x * (1 - x); y += Math.sqrt(x) / i; } return y; }
function arrays(n) { const a = new Float64Array(n), b = new Int32Array(n); for (let i = 0; i < n; i++) { a[i] = i * 1.1; b[i] = a[i] % 97; } b.sort(); let s = 0; for (let i = 0; i < n; i++) s = (s * 31 + b[i]) | 0; return s; }
function objects(n) { const m = new Map(); for (let i = 0; i < n; i++) { const k = 'k' + (i * 7919 % 1009); m.set(k, (m.get(k) || 0) + i); } return JSON.stringify([...m].sort()).length + [...m.values()].reduce((x, y) => x + y, 0); }
function deopt(n) { const f = (x, y) => x + y; let s = 0; for (let i = 0; i < n; i++) { s = f(s, i % 1000 === 999 ? 0.5 : 1); if (i % 5000 === 4999) s = Number(f(String(s), '')); } return s; }
function big(n) { let a = 1n; for (let i = 1; i < n; i++) a = (a * 6364136223846793005n + BigInt(i)) % (1n << 521n); return a.toString(36); }
function words(n) { let s = 0; const t = 'The quick brown fox jumps over the lazy dog. '.repeat(20); for (let i = 0; i < n; i++) { s += t.replace(/(\w+) (\w+)/g, '$2 $1').match(/[aeiou]{2,}|o[xvg]/g).length + t.charCodeAt(i % t.length); } return s; }
function made(n) { let s = 0; for (let i = 0; i < n; i++) { s = (s + new Function('x', `let y = x; for (let k = 0; k < 50; k++) y = (y * ${i % 89 + 3} + k) % 100003; return y;`)(i)) | 0; } return s; }
function wasm(n) {  // (func (param i32) (result i32)): a loop of multiply, add, rotate
  const code = Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f, 3, 2, 1, 0, 7, 5, 1, 1, 0x66, 0, 0, 0xa, 0x24, 1, 0x22, 1,
    1, 0x7f, 3, 0x40, 0x20, 1, 0x41, 0x8d, 0xcc, 0xe5, 0, 0x6c, 0x20, 0, 0x6a, 0x41, 7, 0x77, 0x21, 1, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0xd, 0, 0xb, 0x20, 1, 0xb]);
  return new WebAssembly.Instance(new WebAssembly.Module(code)).exports.f(n);
}
const all = [[integers, 3e6], [floats, 1e6], [arrays, 2e5], [objects, 1e5], [deopt, 3e5], [big, 3000], [words, 400], [made, 1500], [wasm, 3e6]];
const work = () => all.map(([f, n]) => { let s = ''; for (let k = 0; k < 3; k++) s = String(f(n)); return `${f.name} ${s}`; }).join('\n');

if (!isMainThread) parentPort.postMessage(work());
else {
  console.log(work());
  let left = 2;
  for (let k = 0; k < 2; k++) new Worker(__filename).on('message', (text) => { if (text !== work()) console.log('a worker differs\n' + text); if (--left === 0) console.log('workers agree'); });
}
