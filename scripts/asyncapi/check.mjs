// Reads an AsyncAPI document and prints what AsyncAPI's own parser has to say against it; exit status 1 if that is an error.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
for (const each of diagnostics) {
  console.log(`${each.severity} ${each.code} ${each.path.join(".")}: ${each.message}`);
}
process.exit(document === undefined || diagnostics.some((each) => each.severity === 0) ? 1 : 0);
