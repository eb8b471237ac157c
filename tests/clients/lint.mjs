// Checks a document by Redocly's recommended rules, and says what it finds.
import { createConfig, lint } from "@redocly/openapi-core";

const config = await createConfig({ extends: ["recommended"] });
const found = await lint({ ref: process.argv[2], config });
for (const problem of found) {
  console.log(problem.severity, problem.ruleId, problem.message, problem.location[0]?.pointer);
}
process.exit(found.length ? 1 : 0);
