/** The ids that a rule has in the packs NIST 800-53 revision 5, HIPAA Security and PCI DSS 3.2.1 of cdk-nag. */
export function inRegulatoryPacks(rule: string): string[] {
  return ['NIST.800.53.R5', 'HIPAA.Security', 'PCI.DSS.321'].map((pack) => `${pack}-${rule}`);
}
