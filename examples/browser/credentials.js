// How does the AWS SDK get credentials from Hallpass? It calls this provider before its first request, and again when less
// than five minutes are left.

/** What Hallpass says when it refuses: `message` is for people, `code` for programs, `requestId` for the operator. A grant
 * that needs a stronger sign-in also says which: `acr_values`, `amr_values`, `max_age` (RFC 9470). */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.message ?? `Hallpass answered ${status}.`);
    Object.assign(this, { name: 'Refused', status, code: problem.code, requestId: problem.requestId, problem });
  }
}

/** The credentials of one grant. `signIn.token()` resolves to a token, and `signIn.renewed(token)` to its successor. */
export function fromHallpass(url, grant, signIn) {
  const ask = async (token) => {
    const headers = { Authorization: `Bearer ${token}` };
    const answer = await fetch(`${url}/v1/credentials/${grant}`, { headers, signal: AbortSignal.timeout(10_000) });
    const body = (await answer.json().catch(() => null)) ?? {}; // a proxy's refusal need not be JSON
    if (!answer.ok) throw new Refused(answer.status, body);
    return body;
  };
  return async () => {
    const token = await signIn.token();
    const session = await ask(token).catch(async (error) => {
      if (error.code !== 'invalid_token') throw error;
      return ask(await signIn.renewed(token)); // the clocks differ, or the provider changed its keys
    });
    const { AccessKeyId, SecretAccessKey, SessionToken, Expiration } = session;
    const expiration = new Date(Expiration);
    return { accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey, sessionToken: SessionToken, expiration };
  };
}
