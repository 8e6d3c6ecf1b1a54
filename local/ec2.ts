import type { LocalAws } from './aws';
import { PSEUDO } from './template';

/**
 * Asks the stand-in's EC2, by its query API.
 *
 * @returns the answer's XML
 * @throws Error with EC2's own code and text
 */
export async function ec2(
  aws: LocalAws,
  action: string,
  parameters: { readonly [name: string]: string } = {},
): Promise<string> {
  const response = await fetch(aws.endpoint, {
    method: 'POST',
    headers: {
      // Tells which service is asked; nobody checks the signature.
      authorization: `AWS4-HMAC-SHA256 Credential=local/20260101/${PSEUDO['AWS::Region']}/ec2/aws4_request, SignedHeaders=host, Signature=local`,
    },
    body: new URLSearchParams({ Action: action, Version: '2016-11-15', ...parameters }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${action}: ${/<Code>.*<\/Message>/s.exec(text)?.[0] ?? text.slice(0, 500)}`);
  return text;
}

/** Texts of an element, in the order of the answer. */
export function elements(xml: string, name: string): string[] {
  return [...xml.matchAll(new RegExp(`<${name}>([^<]*)</${name}>`, 'g'))].map(([, text]) => text);
}
