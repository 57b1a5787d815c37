// Browsers give a page that was opened from the disk no worker, and the site's search runs in one.
// This class runs the worker's script in a hidden frame instead. docs/site.py puts it into each page.
if (location.protocol === "file:") {
  window.Worker = class {
    constructor(address) {
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.frame.srcdoc = "<!doctype html><body>";
      this.started = new Promise((resolve) => {
        this.frame.onload = () => {
          const inner = this.frame.contentWindow;
          inner.postMessage = (data) => setTimeout(() => this.onmessage?.({ data }));
          const script = inner.document.createElement("script");
          script.onload = () => resolve(inner);
          script.onerror = (error) => this.onerror?.(error);
          script.src = address;
          inner.document.body.append(script);
        };
      });
      document.body.append(this.frame);
    }

    postMessage(data) {
      this.started.then((inner) => inner.onmessage({ data }));
    }

    terminate() {
      this.frame.remove();
    }
  };
}
