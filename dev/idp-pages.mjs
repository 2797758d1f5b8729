// What does the local identity provider show in a browser? Plain forms, which a screen reader and a script can fill in.

const ESCAPES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const escaped = (text) => String(text ?? '').replace(/[&<>"']/g, (character) => ESCAPES[character]);

const page = (title, body) => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${title}</title>
<style>body { font: 1rem/1.5 system-ui; max-width: 24rem; margin: 3rem auto; padding: 0 1rem } label, button { display: block; margin: 1rem 0 }</style>
<h1>${title}</h1>
${body}
</html>
`;

/** Asks who signs in, and for a second factor where the client asks for one. */
export const loginPage = (stronger, hint) =>
  page(
    'Sign in',
    `<p>The employees are carol, dave, erin, frank and heidi. There are no passwords.</p>
<form action="" method="post">
<input type="hidden" name="prompt" value="login">
<label>Name <input name="login" value="${escaped(hint)}" required autofocus autocomplete="username"></label>
<label><input type="checkbox" name="factor"${stronger ? ' required' : ''}> Second factor${stronger ? ' (required)' : ''}</label>
<button>Sign in</button>
</form>`,
  );

/** Asks whether the client may have what it asks for. */
export const consentPage = (client, scope) =>
  page(
    'Allow access',
    `<p>${escaped(client.clientName ?? client.clientId)} asks for: ${escaped(scope)}.</p>
<form action="" method="post">
<input type="hidden" name="prompt" value="consent">
<button>Allow</button>
</form>`,
  );

/** Asks for the code that a device shows. `form` has no button of its own. */
export const codePage = (form, error) =>
  page(
    'Sign in a device',
    `<p>${error ? 'This code is not right, or too old.' : 'Enter the code that the device shows.'}</p>
${form}
<button form="op.deviceInputForm">Continue</button>`,
  );

/** Asks whether the device shows this code. `form` has no button of its own. */
export const confirmPage = (form, client, code) =>
  page(
    'Confirm the device',
    `<p>Does the device of ${escaped(client.clientName ?? client.clientId)} show <strong>${escaped(code)}</strong>?</p>
${form}
<button form="op.deviceConfirmForm">Continue</button>
<button form="op.deviceConfirmForm" name="abort" value="yes">Cancel</button>`,
  );

/** Says that a device is signed in. */
export const donePage = () => page('Signed in', '<p>The device is signed in. This page can be closed.</p>');
