// Prints the token of each managed identity, or why there is none. Where they come from is a matter of the environment,
// which the library reads once in a process.
import { ManagedIdentityCredential } from "@azure/identity";

const [scope, selectors] = process.argv.slice(2);
const answers = [];
for (const selector of JSON.parse(selectors)) {
  try {
    answers.push((await new ManagedIdentityCredential(selector).getToken(scope)).token);
  } catch (error) {
    answers.push(error.message);
  }
}
process.stdout.write(JSON.stringify(answers));
