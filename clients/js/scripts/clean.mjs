// What an earlier build left would be packed with it.
import { rmSync } from "node:fs";

rmSync("dist", { recursive: true, force: true });
