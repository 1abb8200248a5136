// Signs and verifies HTTP messages with http-message-signatures, in lines of JSON. A question has
//
//   do           sign or verify
//   algorithm    by its name in RFC 9421 §3.3
//   key          PEM: the private key, or the public one
//   key_id, tag  parameters; whatever they are when verifying, the tag has to be that one
//   components   identifiers to be covered, or that have to be
//   ahead        by how many seconds the clock of the other side is ahead, 0 without it
//   name_algorithm, own_salt  when signing: whether `alg` is written, and whether the library chooses the salt
//   method and url, or status; headers, a list of pairs; body
//   request      of a response, the same again
//
// and an answer has the headers, or whether the signature holds: `ok`, and `error`.
import crypto from "node:crypto";
import { createInterface } from "node:readline";
import library from "http-message-signatures";

const { createSigner, createVerifier, httpbis } = library;

const message = ({ method, url, status, headers }) => {
  const fields = {};
  for (const [name, value] of headers) (fields[name.toLowerCase()] ??= []).push(value);
  return method ? { method, url, headers: fields } : { status, headers: fields };
};

const digest = (body) => `sha-512=:${crypto.createHash("sha512").update(body).digest("base64")}:`;

// RFC 9421 §3.3.1 has a salt of 64 bytes; the library's own signer takes the longest that fits.
const signer = ({ algorithm, key, own_salt }) => {
  if (algorithm !== "rsa-pss-sha512" || own_salt) return createSigner(key, algorithm);
  const options = { key, padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: 64 };
  return { alg: algorithm, sign: async (base) => crypto.sign("sha512", base, options) };
};

const ahead = (question) => question.ahead ?? 0;

const sign = async (question) => {
  const unsigned = message(question);
  if (question.body) unsigned.headers["content-digest"] = [digest(question.body)];
  const config = {
    key: signer(question),
    name: "theirs",
    fields: question.components,
    params: ["created", "keyid", ...(question.name_algorithm ? ["alg"] : []), "tag"],
    paramValues: { created: new Date(Date.now() + ahead(question) * 1000), keyid: question.key_id, tag: question.tag },
  };
  const signed = await httpbis.signMessage(config, unsigned, question.request && message(question.request));
  const lines = Object.entries(signed.headers).flatMap(([name, values]) => [values].flat().map((value) => [name, value]));
  return { headers: lines };
};

const verify = async (question) => {
  const config = {
    keyLookup: async ({ keyid, tag }) => {
      if (tag !== question.tag) return null;
      return { id: keyid, verify: createVerifier(question.key, question.algorithm) };
    },
    requiredParams: ["created", "keyid", "tag"],
    requiredFields: question.components.map((component) => component.split('"')[1]),
    maxAge: 60,
    tolerance: 10 + ahead(question),
  };
  const claimed = message(question);
  const ok = await httpbis.verifyMessage(config, claimed, question.request && message(question.request));
  const sent = claimed.headers["content-digest"]?.[0];
  const algorithm = sent?.startsWith("sha-256=") ? "sha256" : "sha512";
  const hash = crypto.createHash(algorithm).update(question.body ?? "").digest("base64");
  return { ok: ok === true && (!question.body || sent.includes(`:${hash}:`)) };
};

for await (const line of createInterface({ input: process.stdin })) {
  const question = JSON.parse(line);
  let answer;
  try {
    answer = await (question.do === "sign" ? sign(question) : verify(question));
  } catch (error) {
    answer = { ok: false, error: String(error) };
  }
  console.log(JSON.stringify(answer));
}
