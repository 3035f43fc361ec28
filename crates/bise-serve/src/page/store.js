// Conversations in the browser: a record for each, so that tabs do not write over each other's.

const DATABASE = 'bise';
const RECORDS = 'conversations';

/** What a request to the database comes to. */
const result = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

/** When a transaction is on the disk. */
const complete = (transaction) => new Promise((resolve, reject) => {
  transaction.oncomplete = () => resolve();
  transaction.onabort = () => reject(transaction.error);
});

function open() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(RECORDS, { keyPath: 'id' });
  return result(request);
}

/** Where conversations are kept. */
export class Store {
  #database;
  #last = Promise.resolve();
  #channel = 'BroadcastChannel' in globalThis ? new BroadcastChannel('bise') : null;

  constructor(database) {
    this.#database = database;
    // A later version of the page may want to change how they are kept.
    database.onversionchange = () => database.close();
  }

  /** The browser's; throws when it keeps nothing. */
  static async open() {
    return new Store(await open());
  }

  /** `changed(id)` is called when another tab has written or removed a conversation. */
  watch(changed) {
    if (this.#channel) this.#channel.onmessage = ({ data }) => changed(data);
  }

  /** All conversations, the one that changed last first. */
  async all() {
    const records = this.#database.transaction(RECORDS).objectStore(RECORDS);
    const all = await result(records.getAll());
    return all.sort((a, b) => b.updated - a.updated);
  }

  /** One of them, or nothing. */
  get(id) {
    return result(this.#database.transaction(RECORDS).objectStore(RECORDS).get(id));
  }

  /**
   * Writes a conversation. When another tab has written it since it was read here, it gets the id
   * `copy` and stands beside the other's; when another tab has removed it, it stays removed.
   * Returns 'saved', 'copied' or 'removed'.
   */
  save(conversation, copy) {
    // One after the other: each counts up the revision.
    const saved = this.#last.then(() => this.#save(conversation, copy));
    this.#last = saved.catch(() => {});
    return saved;
  }

  async #save(conversation, copy) {
    // On the disk before it is said to be: it may be the last thing that the tab does.
    const transaction = this.#database.transaction(RECORDS, 'readwrite', { durability: 'strict' });
    const records = transaction.objectStore(RECORDS);
    const done = complete(transaction);
    done.catch(() => {});
    const { id, revision } = conversation;
    const there = await result(records.get(id));
    if (!there && revision > 0) return 'removed';
    const isChanged = there && there.revision !== revision;
    const written = { ...conversation, revision: isChanged ? 1 : revision + 1 };
    if (isChanged) Object.assign(written, { id: copy, title: `${written.title} (copy)` });
    records.put(written);
    await done;
    const { id: kept, revision: now, title } = written;
    Object.assign(conversation, { id: kept, revision: now, title });
    this.#channel?.postMessage(written.id);
    return isChanged ? 'copied' : 'saved';
  }

  /** Removes a conversation. */
  async remove(id) {
    const transaction = this.#database.transaction(RECORDS, 'readwrite');
    transaction.objectStore(RECORDS).delete(id);
    await complete(transaction);
    this.#channel?.postMessage(id);
  }
}

/** What keeps conversations as long as the page is open, where the browser keeps nothing. */
export class Memory {
  #all = new Map();

  watch() {}

  async all() {
    return [...this.#all.values()].sort((a, b) => b.updated - a.updated);
  }

  async get(id) {
    return this.#all.get(id);
  }

  async save(conversation) {
    if (conversation.revision > 0 && !this.#all.has(conversation.id)) return 'removed';
    conversation.revision += 1;
    this.#all.set(conversation.id, structuredClone(conversation));
    return 'saved';
  }

  async remove(id) {
    this.#all.delete(id);
  }
}

/** A small value that outlives the page; null when there is none, or nothing is kept. */
export function recall(name) {
  try {
    return JSON.parse(localStorage.getItem(`bise.${name}`));
  } catch {
    return null;
  }
}

/** Keeps a small value if the browser does. */
export function remember(name, value) {
  try {
    localStorage.setItem(`bise.${name}`, JSON.stringify(value));
  } catch {
    // It holds as long as the page is open.
  }
}
