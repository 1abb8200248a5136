// Where the access token is: in one Authorization field and nowhere else (FAPI 2.0 §5.3.4 (1), (2)).

import { badRequest } from './refusal.mjs';

const SCHEMES = ['Bearer', 'DPoP'];

// Returns the scheme, as it is written in challenges, and the token; nothing if there are no credentials.
export function credentials(call, form, has) {
  const lines = call.lines('authorization');
  if (lines.length > 1 && !has('two-authorizations-taken')) throw badRequest('more than one Authorization');
  const inQuery = call.query.get('access_token');
  const inForm = form?.get('access_token');
  if (lines.length > 0) {
    // RFC 6750 §2: no more than one method in each request.
    const twice = (inQuery ?? inForm ?? undefined) !== undefined;
    if (twice && !has('token-in-two-places-taken')) throw badRequest('a token in more than one place');
    return fromField(lines[0], has);
  }
  const token =
    (has('token-in-query') && inQuery) ||
    (has('token-in-form') && inForm) ||
    (has('token-in-cookie') && /(?:^|; *)access_token=([^;]+)/.exec(call.lines('cookie').join('; '))?.[1]) ||
    (has('token-in-x-access-token') && call.lines('x-access-token')[0]);
  return token ? { scheme: call.lines('dpop').length > 0 ? 'DPoP' : 'Bearer', token } : undefined;
}

// RFC 9110 §11.1: the name of a scheme is case-insensitive. RFC 6750 §2.1, RFC 9449 §7.1: what follows is b64token.
function fromField(line, has) {
  const [name] = /^[^ ]*/.exec(line);
  const same = (scheme) => (has('scheme-case-sensitive') ? name === scheme : name.toLowerCase() === scheme.toLowerCase());
  const scheme = SCHEMES.find(same) ?? (has('scheme-any-is-bearer') ? 'Bearer' : undefined);
  if (!scheme) return undefined;
  // Padding inside of a token is what base64 leaves there.
  const syntax = has('token-lenient-base64') ? /^[\w\-.~+/=]+$/ : /^[\w\-.~+/]+=*$/;
  const token = line.slice(name.length).replace(/^ +/, '');
  if (!syntax.test(token)) throw badRequest('malformed credentials');
  return { scheme, token };
}
