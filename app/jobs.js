// What the page is doing: one job at a time, a queue of files, a recording, live answers, or a sentence that teaches.

export class Jobs {
  /** `onChange` is told the kind of the job, or null; `onError` what ended a job that nobody had cancelled. */
  constructor(onChange, onError) {
    this.onChange = onChange;
    this.onError = onError;
    this.current = null;
  }

  get kind() {
    return this.current?.kind ?? null;
  }

  /** Cancel what runs, and begin; `run` gets the job, whose `cancelled` is an AbortSignal that it must obey. */
  async start(kind, run) {
    this.cancel();
    const cancel = new AbortController();
    const finish = new AbortController();
    const ended = AbortSignal.any([cancel.signal, finish.signal]);
    const job = { kind, cancel, finish, cancelled: cancel.signal, ended };
    this.current = job;
    this.onChange(kind);
    try {
      await run(job);
    } catch (error) {
      if (!cancel.signal.aborted) this.onError(error);
    } finally {
      finish.abort(); // whatever ended it, no microphone stays open
      if (this.current === job) {
        this.current = null;
        this.onChange(null);
      }
    }
  }

  /** A button that starts a job, and ends it well: its recording is kept. The second click of a double click is none. */
  toggle(kind, run, event) {
    if (event.detail > 1) return;
    if (this.kind === kind) this.current.finish.abort();
    else this.start(kind, run);
  }

  cancel() {
    const job = this.current;
    this.current = null;
    job?.cancel.abort();
    if (job) this.onChange(null);
  }
}
