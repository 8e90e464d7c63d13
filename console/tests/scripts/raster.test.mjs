// The figures are those of shared/imaging/src/raster.rs and of Pillow 13.0: the same random shapes, the same digests.
import assert from "node:assert/strict";
import test from "node:test";
import { circle, ellipse, polygon, rectangle } from "../../assets/raster.js";

/** The generator that the reference was made with. */
class Draws {
  state = 12345n;

  below(n) {
    this.state = BigInt.asUintN(64, this.state * 6364136223846793005n + 1442695040888963407n);
    return Number((this.state >> 33n) % BigInt(n));
  }

  point() {
    return [(this.below(700) - 100) / 10, (this.below(600) - 100) / 10];
  }
}

/** FNV-1a of 64 bits over a mask's pixels, in halves of 32 bits: BigInt would take minutes. */
function fnv(data) {
  let [high, low] = [0xcbf29ce4, 0x84222325];
  for (const value of data) {
    low = (low ^ value) >>> 0;
    const product = low * 0x1b3;
    high = (high * 0x1b3 + Math.floor(product / 2 ** 32) + low * 256) % 2 ** 32;
    low = product % 2 ** 32;
  }
  return (BigInt(high) << 32n) | BigInt(low);
}

const blank = (rows, columns) => ({ rows, columns, data: new Uint8Array(rows * columns) });

function digest(draw) {
  let [sum, count] = [0n, 0];
  for (let i = 0; i < 2000; i++) {
    const mask = blank(40, 50);
    draw(mask);
    sum = BigInt.asUintN(64, sum * 31n + fnv(mask.data));
    count += mask.data.reduce((total, value) => total + value, 0);
  }
  return [sum, count];
}

test("every pixel is that of the server and of PIL", () => {
  const draws = new Draws();
  const polygons = digest((mask) => polygon(mask, Array.from({ length: 3 + draws.below(9) }, () => draws.point())));
  assert.deepEqual(polygons, [0x8c3a9e3ab499589fn, 1155405]);
  const flat = digest((mask) =>
    polygon(mask, Array.from({ length: 3 + draws.below(6) }, () => [draws.below(50), draws.below(6)])));
  assert.deepEqual(flat, [0x7512493ac1a70f37n, 114837]);
  const circles = digest((mask) => {
    const [x, y, radius] = [draws.below(500) / 10, draws.below(400) / 10, draws.below(300) / 10];
    circle(mask, [x, y], [x + radius, y]);
  });
  assert.deepEqual(circles, [0x97b6bb682158f041n, 1176747]);
  const rectangles = digest((mask) => {
    const corner = () => [draws.below(700) / 10 - 10, draws.below(600) / 10 - 10];
    const a = corner();
    rectangle(mask, a, corner());
  });
  assert.deepEqual(rectangles, [0xfc5a28d5edd8ad2bn, 787419]);
});

test("the largest shapes end inside", () => {
  const mask = blank(3, 3);
  ellipse(mask, [-4000, -4000], [5000, 5000]);
  assert.equal(mask.data.join(""), "111111111");
  polygon(mask, [[-8192, 16384], [16384, 16384], [16384, -8192]], 0);
  rectangle(mask, [16384, 16384], [-8192, -8192], 0);
  assert.equal(mask.data.join(""), "000000000");
});

test("a shape drawn black takes away what it would have added", () => {
  const mask = blank(20, 20);
  rectangle(mask, [0, 0], [19, 19]);
  circle(mask, [10, 10], [13, 10], 0);
  assert.equal(mask.data.filter((value) => value === 0).length, 37);
  polygon(mask, [], 0);
});
