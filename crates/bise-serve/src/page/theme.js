// Sets the colours that were chosen before anything is drawn: the only script that is no module.
(() => {
  try {
    const theme = localStorage.getItem('bise.theme');
    if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
  } catch {
    // A browser that stores nothing has the system's colours.
  }
})();
