// A plain check of a JWT: signature, issuer, audience and end. nginx asks for it before each request (auth_request).

import fs from 'fs';

const ALGORITHMS = {
    ES256: { kty: 'EC', name: 'ECDSA', hash: 'SHA-256', namedCurve: 'P-256' },
    PS256: { kty: 'RSA', name: 'RSA-PSS', hash: 'SHA-256', saltLength: 32 },
    RS256: { kty: 'RSA', name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
};

async function check(r) {
    let accepted = false;
    try {
        accepted = await accepts(r);
    } catch (error) {
        r.warn(`the token cannot be read: ${error}`);
    }
    r.return(accepted ? 204 : 401);
}

async function accepts(r) {
    const presented = /^Bearer ([^.]+)\.([^.]+)\.([^.]+)$/i.exec(r.headersIn.Authorization || '');
    if (!presented) {
        return false;
    }
    const header = parsed(presented[1]);
    const claims = parsed(presented[2]);
    const audiences = Array.isArray(claims.aud) ? claims.aud : [claims.aud];
    const keys = JSON.parse(fs.readFileSync(r.variables.token_keys)).keys;
    return await signed(keys, header, `${presented[1]}.${presented[2]}`, bytes(presented[3]))
        && claims.iss === r.variables.token_issuer
        && audiences.includes(r.variables.token_audience)
        && claims.exp > Date.now() / 1000;
}

async function signed(keys, header, input, signature) {
    const algorithm = ALGORITHMS[header.alg];
    const jwk = keys.find((key) => key.kid === header.kid && algorithm && key.kty === algorithm.kty);
    if (!jwk) {
        return false;
    }
    const key = await crypto.subtle.importKey('spki', spki(jwk), algorithm, false, ['verify']);
    return crypto.subtle.verify(algorithm, key, signature, input);
}

function bytes(text) {
    return Buffer.from(text, 'base64url');
}

function parsed(text) {
    return JSON.parse(bytes(text).toString());
}

// The SubjectPublicKeyInfo (RFC 5280 §4.1) of a key. njs 0.7.9, which Debian 12 has, imports no JWK.
function spki(jwk) {
    if (jwk.kty === 'EC') {
        const id = Buffer.from('301306072a8648ce3d020106082a8648ce3d030107', 'hex');
        return der(0x30, [id, der(0x03, [Buffer.from([0, 4]), bytes(jwk.x), bytes(jwk.y)])]);
    }
    const id = Buffer.from('300d06092a864886f70d0101010500', 'hex');
    const key = der(0x30, [integer(bytes(jwk.n)), integer(bytes(jwk.e))]);
    return der(0x30, [id, der(0x03, [Buffer.from([0]), key])]);
}

// An unsigned integer: the shortest, with a zero before a first bit that would be the sign.
function integer(value) {
    let start = 0;
    while (start < value.length - 1 && value[start] === 0) {
        start += 1;
    }
    const sign = value[start] < 0x80 ? [] : [0];
    return der(0x02, [Buffer.from(sign), value.slice(start)]);
}

function der(tag, parts) {
    const value = Buffer.concat(parts);
    const size = value.length;
    const length = size < 0x80 ? [size] : size < 0x100 ? [0x81, size] : [0x82, size >> 8, size & 0xff];
    return Buffer.concat([Buffer.from([tag].concat(length)), value]);
}

export default { check };
