// How is a value written so that a shell reads exactly that value?
//
// Values come from the server and could hold anything. As long as a shell can quote it, it arrives as it was; what cannot
// be quoted is refused, and never written in part.

/** @import { Credentials } from './hallpass.js' */

// What some SDK would prefer to the credentials that are pasted.
const OTHERS = ['AWS_PROFILE', 'AWS_DEFAULT_PROFILE', 'AWS_SECURITY_TOKEN', 'AWS_WEB_IDENTITY_TOKEN_FILE'];

/** The formats, by what their tabs are called.
 * @type {Record<string, {hint: string, write: (credentials: Credentials) => string}>} */
export const FORMATS = {
  Bash: {
    hint: 'Paste this into a terminal with bash or zsh. Only that terminal has the credentials.',
    write: (credentials) =>
      lines(
        `unset ${OTHERS.join(' ')}`,
        variables(credentials).map(([name, value]) => `export ${name}=${bash(value)}`),
      ),
  },
  PowerShell: {
    hint: 'Paste this into a terminal with PowerShell. Only that terminal has the credentials.',
    write: (credentials) =>
      lines(
        `Remove-Item -ErrorAction Ignore -Path ${OTHERS.map((name) => `Env:${name}`).join(', ')}`,
        variables(credentials).map(([name, value]) => `$Env:${name} = ${powerShell(value)}`),
      ),
  },
  'AWS config': {
    hint: 'Add this to the file ~/.aws/config, and name the profile: AWS_PROFILE, or --profile.',
    write: (credentials) =>
      lines(`[profile ${config(profileOf(credentials))}]`, [
        `aws_access_key_id = ${config(credentials.id)}`,
        `aws_secret_access_key = ${config(credentials.secret)}`,
        `aws_session_token = ${config(credentials.token)}`,
      ]),
  },
};

/** The command that sets up the command line.
 * @param {string} server
 * @param {string | undefined} issuer if the server trusts several */
export const setUp = (server, issuer) =>
  `hallpass configure ${word(server)}${issuer === undefined ? '' : ` --issuer ${word(issuer)}`}`;

/** @param {string} first
 * @param {string[]} rest */
const lines = (first, rest) => `${[first, ...rest].join('\n')}\n`;

/** @param {Credentials} credentials
 * @returns {[string, string][]} */
const variables = ({ id, secret, token, expiration }) => [
  ['AWS_ACCESS_KEY_ID', id],
  ['AWS_SECRET_ACCESS_KEY', secret],
  ['AWS_SESSION_TOKEN', token],
  ...(expiration === '' ? [] : [/** @type {[string, string]} */ (['AWS_CREDENTIAL_EXPIRATION', expiration])]),
];

/** Not the name that `hallpass configure` uses: two profiles of one name in one file are an error.
 * @param {Credentials} credentials */
const profileOf = ({ account, grant }) => (account === '' ? grant : `${account}_${grant}`);

/** A terminal acts on control characters before the shell sees a quote.
 * @param {string} value */
function printable(value) {
  if (/\p{C}/u.test(value)) throw new RangeError('a value has a character that cannot be pasted');
  return value;
}

/** @param {string} value */
const bash = (value) => `'${printable(value).replaceAll("'", String.raw`'\''`)}'`;

/** PowerShell takes typographic quotes for quotes, too.
 * @param {string} value */
const powerShell = (value) => `'${printable(value).replace(/['\u2018-\u201b]/g, '$&$&')}'`;

/** The file has no quotes: there is only what needs none.
 * @param {string} value */
function config(value) {
  if (!/^[A-Za-z0-9+/=._:@-]+$/.test(value))
    throw new RangeError('a value has a character that ~/.aws/config cannot hold');
  return value;
}

/** @param {string} value */
const word = (value) => (/^[A-Za-z0-9:/._~-]+$/.test(value) ? value : bash(value));
