const MASK = 0xffff_ffff_ffff_ffffn;
const FNV_OFFSET = 0xcbf2_9ce4_8422_2325n;
const FNV_PRIME = 0x100_0000_01b3n;

/**
 * Where a user's mail is opened: the node with the highest weight for the user (rendezvous hashing), so that a node that
 * comes or goes moves only its own share of the users.
 *
 * The weight is FNV-1a of `address NUL user`, then MurmurHash3's 64-bit finalizer, without which FNV's high bits hardly
 * depend on the end of the text. Dovecot finds the home by the same rule in Lua; `agent/test/ring/home-vectors.json`
 * holds both to it.
 *
 * @param user mailbox name in any case
 * @param addresses addresses of the nodes, in any order
 * @returns undefined when there is no node
 */
export const homeOf = (user: string, addresses: readonly string[]): string | undefined => {
  const name = lowerCase(user);
  let home: string | undefined;
  let highest = -1n;
  for (const address of addresses) {
    const weight = weightOf(address, name);
    if (home === undefined || weight > highest || (weight === highest && address < home)) {
      home = address;
      highest = weight;
    }
  }
  return home;
};

const weightOf = (address: string, user: string): bigint => {
  let hash = FNV_OFFSET;
  for (const byte of Buffer.from(`${address}\0${user}`)) hash = ((hash ^ BigInt(byte)) * FNV_PRIME) & MASK;
  hash ^= hash >> 33n;
  hash = (hash * 0xff51_afd7_ed55_8ccdn) & MASK;
  hash ^= hash >> 33n;
  hash = (hash * 0xc4ce_b9fe_1a85_ec53n) & MASK;
  return hash ^ (hash >> 33n);
};

// ASCII only: Lua's string.lower in the C locale knows no other letters.
const lowerCase = (text: string): string => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
