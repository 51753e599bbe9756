// The one dialog: asks before something is changed, and for the token where one is needed.

import { $ } from './words.js';

const dialog = $('dialog'), form = dialog.querySelector('form');
let token = '', asksToken = false, act = null;

/** What the server says of changing things from here: "open", "token" or "off". */
export function rights(writing) {
  asksToken = writing === 'token';
}

/** A request that changes something. Gives the answer, or throws its error in words. */
async function post(path, body) {
  const headers = { 'Content-Type': 'application/json' };
  if (token) headers.Authorization = `Bearer ${token}`;
  let answer;
  try {
    answer = await fetch(path, { method: 'POST', headers, body: JSON.stringify(body), cache: 'no-store' });
  } catch {
    throw new Error('Longwire does not answer');
  }
  const told = await answer.json().catch(() => ({}));
  if (answer.ok) return told;
  if (answer.status === 401 || answer.status === 403) [token, asksToken] = ['', true];
  throw new Error(told.error ?? `it answered ${answer.status}`);
}

/**
 * Asks, and gives the answer to the request once it was made; null when somebody changed their mind.
 * `wish`: title, text, action (the button's word), path, and body: what to send, made of the Close that was chosen where
 * `close` is "one" or "many".
 */
export function ask({ title, text, action, path, body, close }) {
  $('dialog-title').textContent = title;
  $('dialog-text').textContent = text;
  $('go').textContent = action;
  $('dialog-close').hidden = !close;
  $('rate').hidden = close !== 'many';
  trouble('');
  return new Promise(done => {
    act = async () => {
      if (asksToken) token = form.token.value || token;
      const answer = await post(path, body(close ? chosen() : null));
      done(answer);
    };
    dialog.onclose = () => done(null);
    dialog.showModal();
    (close ? form.code : $('go')).focus();
  });
}

/** The Close frame that was chosen; throws what is wrong with it. */
function chosen() {
  const code = Number(form.code.value === 'own' ? form.own.value : form.code.value);
  const reason = form.reason.value.trim();
  if (!(code >= 3000 && code <= 4999) && form.code.value === 'own') throw new Error('A code of your own is from 3000 to 4999.');
  if (new TextEncoder().encode(reason).length > 123) throw new Error('The reason is longer than the 123 bytes that a Close frame has room for.');
  return { code, reason, rate: Math.max(1, Number(form.rate.value) || 1) };
}

function trouble(text) {
  $('dialog-trouble').textContent = text;
  $('dialog-trouble').hidden = !text;
  $('token').hidden = !asksToken || !!token;
}

// Enter in a field is the first button that submits: so this one does not.
$('cancel').addEventListener('click', () => dialog.close());
form.code.addEventListener('change', () => { $('own').hidden = form.code.value !== 'own'; });
form.addEventListener('submit', async event => {
  event.preventDefault();
  $('go').disabled = true;
  try {
    await act();
    dialog.close();
  } catch (error) {
    trouble(error.message);
    if (!$('token').hidden) form.token.focus();
  } finally {
    $('go').disabled = false;
  }
});
