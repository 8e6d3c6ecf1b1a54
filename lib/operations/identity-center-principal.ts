import { Aws, Token } from 'aws-cdk-lib';
import { PrincipalBase, PrincipalPolicyFragment } from 'aws-cdk-lib/aws-iam';

/**
 * People with a permission set of IAM Identity Center. Their second factor is a setting there (Authentication, Prompt users for
 * MFA, Every time they sign in): AWS does not tell a role about it. The permission set must allow `sts:AssumeRole` on the role.
 *
 * @throws when the name is not one of a permission set
 * @see https://docs.aws.amazon.com/singlesignon/latest/userguide/referencingpermissionsets.html
 */
export class IdentityCenterPrincipal extends PrincipalBase {
  private readonly accountArn: string;

  /**
   * @param permissionSet its name, such as `MailAuditors`
   * @param accountId account in which people get it; without it, that of the stack
   */
  constructor(
    private readonly permissionSet: string,
    accountId: string = Aws.ACCOUNT_ID,
  ) {
    super();
    if (!Token.isUnresolved(permissionSet) && !/^[\w+=,.@-]{1,32}$/.test(permissionSet)) {
      throw new Error(
        `permissionSet must be 1 to 32 letters, digits and _+=,.@-, got ${JSON.stringify(permissionSet)}; give its name, not its ARN`,
      );
    }
    this.accountArn = `arn:${Aws.PARTITION}:iam::${accountId}`;
  }

  public get policyFragment(): PrincipalPolicyFragment {
    // Where Identity Center is in us-east-1 there is no region in the path. The end is of 16 characters always: with a * a set
    // named Mail would let in people of Mail_Guests.
    const role = `role/aws-reserved/sso.amazonaws.com*/AWSReservedSSO_${this.permissionSet}_${'?'.repeat(16)}`;
    return new PrincipalPolicyFragment(
      { AWS: [`${this.accountArn}:root`] },
      { ArnLike: { 'aws:PrincipalArn': `${this.accountArn}:${role}` } },
    );
  }

  public dedupeString(): string {
    return `IdentityCenterPrincipal:${this.accountArn}:${this.permissionSet}`;
  }
}
