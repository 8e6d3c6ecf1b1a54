import { inclusionPath, leafHash, MerkleTree, rootFromPath } from '../../handlers/evidence/chain/merkle';

// Leaves and roots of the test vectors of Certificate Transparency, which has the same trees (RFC 6962):
// https://github.com/google/certificate-transparency/blob/master/cpp/merkletree/merkle_tree_test.cc
const LEAVES = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'];
const ROOTS = [
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];
const hashes = LEAVES.map((hex) => leafHash(Buffer.from(hex, 'hex')));

test('roots are those of RFC 6962', () => {
  const tree = new MerkleTree();
  expect(tree.root().toString('hex')).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  for (const [index, hash] of hashes.entries()) {
    tree.add(hash);
    expect(tree.root().toString('hex')).toBe(ROOTS[index]);
  }
});

test('the inclusion path of each leaf of each tree leads to the root, and to no other place', () => {
  for (let count = 1; count <= 35; count++) {
    const leaves = Array.from({ length: count }, (_, index) => leafHash(`${index}`));
    const tree = new MerkleTree();
    leaves.forEach((leaf) => tree.add(leaf));
    for (const [index, leaf] of leaves.entries()) {
      const path = inclusionPath(leaves, index);
      expect(rootFromPath(leaf, index, count, path)).toEqual(tree.root());
      expect(rootFromPath(leafHash('other'), index, count, path)).not.toEqual(tree.root());
      for (const wrong of [index - 1, index + 1, index ^ 1].filter((other) => other !== index)) {
        expect(rootFromPath(leaf, wrong, count, path)).not.toEqual(tree.root());
      }
      expect(rootFromPath(leaf, index, count, [...path, leaf])).not.toEqual(tree.root());
      if (count > 1) {
        expect(rootFromPath(leaf, index, count, path.slice(1))).not.toEqual(tree.root());
      }
    }
  }
});
