// Why a request is refused, with the status and the error code that it is answered with. The words are fixed: nothing that
// the client sent is repeated.

export class Refusal extends Error {
  constructor(status, error, message, scope) {
    super(message);
    Object.assign(this, { status, error, scope });
  }
}

// RFC 6750 §3.1
export const badRequest = (message) => new Refusal(400, 'invalid_request', message);
export const badToken = (message) => new Refusal(401, 'invalid_token', message);
// RFC 9449 §7.1
export const badProof = (message) => new Refusal(401, 'invalid_dpop_proof', message);
