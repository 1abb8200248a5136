// Whether the htu of a proof is the target of the request (RFC 9449 §4.3 (9), RFC 3986 §6.2.2, §6.2.3).

// What the URL parser of browsers would repair or leave out is no URI: spaces, backslashes, a missing authority, userinfo.
const FORM = /^https:\/\/[^/?#@]+(?:[/?#]|$)/i;
const CHARACTERS = /^(?:[\w\-.~:/?#[\]@!$&'()*+,;=]|%[0-9a-f]{2})*$/i;
const UNRESERVED = /[\w\-.~]/;

// The server knows its own name: Host and X-Forwarded-Host are what the client says it is.
export function sameTarget(htu, call, server) {
  const { has, base } = server;
  const expected = normal(`${origin(call, server) ?? base}${call.path}${call.search}`);
  if (has('dpop-htu-no-normalization')) return htu === `${base}${call.path}`;
  const given = parsed(htu, expected, has);
  if (!given) return false;
  if (has('dpop-htu-query-strict') && given.search !== expected.search) return false;
  return (
    (given.protocol === expected.protocol || has('dpop-htu-scheme')) &&
    (given.hostname === expected.hostname || has('dpop-htu-host')) &&
    (given.port === expected.port || has('dpop-htu-host') || has('dpop-htu-port')) &&
    samePath(given.path, expected.path, has)
  );
}

function samePath(given, expected, has) {
  if (has('dpop-htu-path')) return true;
  return has('dpop-htu-prefix') ? expected.startsWith(given) : given === expected;
}

function parsed(htu, expected, has) {
  if (typeof htu !== 'string' || !CHARACTERS.test(htu)) return undefined;
  if (has('dpop-htu-relative') && htu.startsWith('/')) return normal(`${expected.origin}${htu}`);
  const text = has('dpop-htu-userinfo') ? htu.replace(/^(https:\/\/)[^/?#@]*@/i, '$1') : htu;
  const form = has('dpop-htu-scheme') ? text.replace(/^http:/i, 'https:') : text;
  return FORM.test(form) && URL.canParse(form) ? normal(text) : undefined;
}

// The parser has lower case, default ports and dot segments; escapes of characters that need none are left to do.
function normal(text) {
  const { origin, protocol, hostname, port, pathname, search } = new URL(text);
  const path = pathname.replace(/%[0-9a-f]{2}/gi, (escape) => {
    const character = String.fromCharCode(Number.parseInt(escape.slice(1), 16));
    return UNRESERVED.test(character) ? character : escape.toUpperCase();
  });
  return { origin, protocol, hostname, port, path, search };
}

function origin(call, { has }) {
  const host =
    (has('dpop-htu-from-host-header') && (call.request.headers.host ?? call.request.authority)) ||
    (has('dpop-htu-from-forwarded') &&
      (call.lines('x-forwarded-host')[0] ?? /\bhost="?([^";,]+)/i.exec(call.lines('forwarded')[0])?.[1]));
  return host && URL.canParse(`https://${host}`) ? `https://${host}` : undefined;
}
