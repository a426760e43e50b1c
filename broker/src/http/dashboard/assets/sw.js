// Shows what the broker has to say while no page is open, and opens the dashboard when pressed.

self.addEventListener("push", (event) => {
  const note = event.data?.json() ?? {};
  const { title = "AgentCom", body, icon, tag, data } = note;
  event.waitUntil(self.registration.showNotification(title, { body, icon, tag, data }));
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const open = async () => {
    const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
    const page = pages.find((page) => new URL(page.url).pathname === "/dashboard");
    return page ? page.focus() : self.clients.openWindow("/dashboard");
  };
  event.waitUntil(open());
});
