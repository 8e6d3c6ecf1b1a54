import { readFileSync } from 'node:fs';

/** A CloudFormation resource as it stands in a template. */
export interface Resource {
  readonly Type: string;
  readonly Properties: { readonly [name: string]: unknown };
}

/** Answers `Ref` (no attribute) and `Fn::GetAtt` of a resource. */
export type ResourceValue = (logicalId: string, resource: Resource, attribute?: string) => string;

/** Values of pseudo parameters on the local cluster. */
export const PSEUDO: { readonly [name: string]: string } = {
  'AWS::AccountId': '123456789012',
  'AWS::Partition': 'aws',
  'AWS::Region': 'us-east-1',
  'AWS::StackId': 'arn:aws:cloudformation:us-east-1:123456789012:stack/MailStack/local',
  'AWS::StackName': 'MailStack',
  'AWS::URLSuffix': 'amazonaws.com',
};

const ZONES = ['a', 'b', 'c', 'd', 'e', 'f'].map((letter) => `${PSEUDO['AWS::Region']}${letter}`);

type Intrinsic = { readonly [name: string]: unknown };

/** A synthesised template, with its intrinsic functions evaluated. */
export class Template {
  public static read(file: string, value: ResourceValue): Template {
    return new Template(JSON.parse(readFileSync(file, 'utf8')), value);
  }

  constructor(
    private readonly body: {
      readonly Resources: { readonly [id: string]: Resource };
      readonly Parameters?: { readonly [id: string]: { readonly Default?: unknown } };
    },
    private readonly value: ResourceValue,
  ) {}

  /** Logical ids and resources of one type, in the template's order. */
  public ofType(type: string): [string, Resource][] {
    return Object.entries(this.body.Resources).filter(([, resource]) => resource.Type === type);
  }

  /** The only resource of a type. @throws Error when there is none or more than one. */
  public only(type: string): [string, Resource] {
    const found = this.ofType(type);
    if (found.length !== 1) throw new Error(`expected one ${type} in the template, found ${found.length}`);
    return found[0];
  }

  /** The resource that a property names by `Ref` or `Fn::GetAtt`. */
  public follow(reference: unknown): [string, Resource] {
    const { Ref, 'Fn::GetAtt': attribute } = reference as { Ref?: string; 'Fn::GetAtt'?: [string, string] };
    const id = Ref ?? attribute?.[0];
    const resource = id === undefined ? undefined : this.body.Resources[id];
    if (id === undefined || !resource) throw new Error(`not a reference to a resource: ${JSON.stringify(reference)}`);
    return [id, resource];
  }

  /** A property's value with every intrinsic function evaluated. @throws Error at a function that is not known here. */
  public resolve(value: unknown): unknown {
    if (Array.isArray(value)) return value.map((item) => this.resolve(item));
    if (value === null || typeof value !== 'object') return value;
    const keys = Object.keys(value);
    if (keys.length === 1 && (keys[0] === 'Ref' || keys[0].startsWith('Fn::'))) {
      return this.evaluate(keys[0], (value as Intrinsic)[keys[0]]);
    }
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, this.resolve(item)]));
  }

  /** Like `resolve`, for a value that must be text. */
  public text(value: unknown): string {
    const resolved = this.resolve(value);
    if (typeof resolved !== 'string' && typeof resolved !== 'number') {
      throw new Error(`expected text in the template, got ${JSON.stringify(resolved)}`);
    }
    return String(resolved);
  }

  private evaluate(name: string, argument: unknown): unknown {
    switch (name) {
      case 'Ref':
        return this.reference(argument as string);
      case 'Fn::GetAtt': {
        const [id, attribute] = argument as [string, string];
        return this.value(id, this.body.Resources[id], attribute);
      }
      case 'Fn::Join': {
        const [separator, items] = argument as [string, unknown[]];
        return (this.resolve(items) as string[]).join(separator);
      }
      case 'Fn::Select': {
        const [index, items] = argument as [number | string, unknown];
        return (this.resolve(items) as unknown[])[Number(index)];
      }
      case 'Fn::Split': {
        const [separator, source] = argument as [string, unknown];
        return this.text(source).split(separator);
      }
      case 'Fn::Sub':
        return this.substitute(argument);
      case 'Fn::GetAZs':
        return ZONES;
      case 'Fn::Base64':
        return this.text(argument); // the reader wants the clear text
      default:
        throw new Error(`the local cluster does not know ${name}`);
    }
  }

  private reference(id: string): unknown {
    if (id in PSEUDO) return PSEUDO[id];
    const resource = this.body.Resources[id];
    if (resource) return this.value(id, resource);
    const parameter = this.body.Parameters?.[id];
    if (parameter) return parameter.Default;
    throw new Error(`the template refers to ${id}, which it does not have`);
  }

  private substitute(argument: unknown): string {
    const [text, names] = (Array.isArray(argument) ? argument : [argument, {}]) as [string, Intrinsic];
    return text.replace(/\$\{(!?)([^}]+)\}/g, (_whole, literal: string, name: string) => {
      if (literal) return `\${${name}}`;
      if (name in names) return this.text(names[name]);
      const [id, ...attribute] = name.split('.');
      return this.text(attribute.length > 0 ? { 'Fn::GetAtt': [id, attribute.join('.')] } : { Ref: id });
    });
  }
}
