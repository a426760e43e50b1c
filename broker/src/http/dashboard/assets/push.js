// Notifications: subscribes this browser to what the broker has to say when no page is open.

/** Whether this browser can: only over HTTPS, or on the machine of the broker. */
export const isPossible =
  "serviceWorker" in navigator && "PushManager" in window && "Notification" in window;

/** Subscribe with this token. Throws a sentence for people. */
export async function subscribe(token) {
  if ((await Notification.requestPermission()) !== "granted") {
    throw new Error("This browser does not allow notifications from here.");
  }
  const { vapid_public_key: key } = await answer(await fetch("/api/dashboard/vapid-key"));
  const registration = await navigator.serviceWorker.register("/sw.js");
  await navigator.serviceWorker.ready;
  const subscription = await subscriptionFor(registration.pushManager, bytes(key));
  await answer(
    await fetch("/api/dashboard/push-subscribe", {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
      body: JSON.stringify(subscription),
    }),
  );
}

// One that was made for another key is of no use any more.
async function subscriptionFor(manager, key) {
  const options = { userVisibleOnly: true, applicationServerKey: key };
  try {
    return await manager.subscribe(options);
  } catch (error) {
    const old = await manager.getSubscription();
    if (!old) throw error;
    await old.unsubscribe();
    return manager.subscribe(options);
  }
}

async function answer(response) {
  const body = await response.json();
  if (response.ok) return body;
  throw new Error(body.message ?? body.errors?.[0]?.detail ?? body.detail ?? body.error);
}

function bytes(base64url) {
  const text = atob(base64url.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}
