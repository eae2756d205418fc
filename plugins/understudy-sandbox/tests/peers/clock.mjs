// The sandbox's clock for the drivers: push it on, and look until something has a status.

export function clockOf(root, key) {
  async function advance(seconds) {
    await fetch(`${root}/sandbox/clock`, {
      method: "POST",
      headers: { Authorization: `Bearer ${key}` },
      body: JSON.stringify({ advance: seconds }),
    });
  }

  async function reach(look, wanted, step) {
    for (let i = 0; i < 500; i += 1) {
      const found = await look();
      if (wanted.includes(found.status)) return found;
      await advance(step);
    }
    throw new Error(`never ${wanted}`);
  }
  return { advance, reach };
}

export async function collect(pages) {
  const all = [];
  for await (const item of pages) all.push(item);
  return all;
}
