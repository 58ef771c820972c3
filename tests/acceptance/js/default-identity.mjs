// Makes a user of a communication service, as DefaultAzureCredential: whoever the environment makes of it.
import { CommunicationIdentityClient } from "@azure/communication-identity";
import { DefaultAzureCredential } from "@azure/identity";

const client = new CommunicationIdentityClient(process.argv[2], new DefaultAzureCredential());
process.stdout.write(JSON.stringify((await client.createUser()).communicationUserId));
