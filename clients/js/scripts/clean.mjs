// What an earlier build left would be packed with it.
import { rmSync } from "node:fs";

for (const directory of ["dist", "build"]) rmSync(directory, { recursive: true, force: true });
