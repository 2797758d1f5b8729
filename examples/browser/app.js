// What does the page do? It signs a person in and lists buckets; each with the credentials of the grant that opens it.

import { ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';

import { Refused, fromHallpass } from './credentials.js';
import { SignIn, SignedOut } from './signin.js';

// The SDK reads S3's XML with DOMParser, which runs nothing. Any other text that would become markup is refused.
globalThis.trustedTypes?.createPolicy('default', {
  createHTML: (text, _type, sink) => (sink === 'DOMParser parseFromString' ? text : null),
});

const settings = SETTINGS; // build.mjs puts them here
const signIn = new SignIn(settings);
const clients = new Map(); // by grant: each keeps its credentials, and renews them
const lists = new Map(); // by bucket: where its objects are shown
const $ = (id) => document.getElementById(id);

$('sign-in').addEventListener('click', () => attempt(() => signIn.begin()));
$('sign-out').addEventListener('click', () => attempt(signOut));

let after;
await attempt(async () => {
  after = await signIn.finish();
});
show();
// What the person wanted, when a grant asked for a stronger sign-in.
const wanted = settings.buckets.find(({ name }) => name === after?.bucket);
if (wanted) await attempt(() => list(wanted), wanted);

/** S3 with what the grant allows. */
function s3(grant) {
  if (!clients.has(grant)) {
    const { region, s3_endpoint: endpoint } = settings;
    const credentials = fromHallpass(settings.hallpass, grant, signIn);
    // Only the local stack has an endpoint: there, all buckets are on one host.
    clients.set(grant, new S3Client({ region, credentials, ...(endpoint && { endpoint, forcePathStyle: true }) }));
  }
  return clients.get(grant);
}

async function list(bucket) {
  const command = new ListObjectsV2Command({ Bucket: bucket.name });
  const { Contents = [], IsTruncated } = await s3(bucket.grant).send(command);
  lists.get(bucket.name).replaceChildren(...Contents.map(({ Key, Size }) => element('li', `${Key} (${Size} bytes)`)));
  return `${bucket.name}: ${Contents.length}${IsTruncated ? ' or more' : ''} objects.`;
}

async function signOut() {
  clients.clear();
  await signIn.end().finally(show);
}

/** Does one thing that the person asked for, and says how it went. */
async function attempt(action, bucket) {
  $('problem').replaceChildren();
  $('status').textContent = 'One moment …';
  let said = '';
  try {
    said = (await action()) ?? '';
  } catch (error) {
    if (error instanceof SignedOut) show();
    $('problem').replaceChildren(...explained(error, bucket));
  }
  $('status').textContent = said;
}

/** A problem as people can use it, with the button that helps if there is one. */
function explained(error, bucket) {
  const parts = [element('p', reasonOf(error, bucket))];
  if (error.requestId) parts.push(element('p', `${error.code}, request ${error.requestId}`));
  if (error instanceof SignedOut || (error instanceof Refused && error.status === 401)) {
    const again = element('button', 'Sign in again');
    again.addEventListener('click', () => attempt(() => signIn.begin(error.problem, { bucket: bucket?.name })));
    parts.push(again);
  }
  return parts;
}

function reasonOf(error, bucket) {
  // The SDK says how often it tried, so this is S3's.
  const s3 = error.$metadata;
  if (s3?.httpStatusCode) return `S3 refused: ${error.message} (${error.name})`;
  // A browser does not say if a host is down, or if its CORS rule leaves this page out.
  if (error instanceof TypeError || error.name === 'TimeoutError') {
    return `${s3 ? bucket.name : 'Hallpass'} cannot be reached, or does not allow pages of ${location.origin}.`;
  }
  return error.message;
}

/** Shows who is signed in, and what they can open. */
function show() {
  const subject = signIn.subject;
  $('person').textContent = subject ? `Signed in as ${subject}` : '';
  $('sign-in').hidden = Boolean(subject);
  $('sign-out').hidden = !subject;
  $('buckets').replaceChildren(...(subject ? settings.buckets.map(article) : []));
}

function article(bucket) {
  const [whole, heading, button, objects] = ['article', 'h2', 'button', 'ul'].map((name) => document.createElement(name));
  heading.id = `bucket-${bucket.name}`;
  heading.textContent = bucket.name;
  button.textContent = 'List';
  button.addEventListener('click', () => attempt(() => list(bucket), bucket));
  lists.set(bucket.name, objects);
  whole.setAttribute('aria-labelledby', heading.id);
  whole.append(heading, button, objects);
  return whole;
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}
